use std::fmt;
use std::sync::Arc;

use pxl::FunctionRegistry;

/// The functions that queries run with. A query keeps those that it began with: names that change meanwhile do not change within one answer.
#[derive(Clone)]
pub struct Functions(Arc<dyn Fn() -> Arc<FunctionRegistry> + Send + Sync>);

impl Functions {
    /// Made anew for each query, over the names as they are then.
    pub fn each(registry: impl Fn() -> Arc<FunctionRegistry> + Send + Sync + 'static) -> Self {
        Self(Arc::new(registry))
    }

    /// Those for a query that begins now.
    pub fn now(&self) -> Arc<FunctionRegistry> {
        (self.0)()
    }
}

impl From<Arc<FunctionRegistry>> for Functions {
    fn from(registry: Arc<FunctionRegistry>) -> Self {
        Self::each(move || Arc::clone(&registry))
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").finish_non_exhaustive()
    }
}
