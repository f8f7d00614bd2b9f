use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use table_store::{Table, TimeRange};

use crate::bounded::Bounded;
use crate::bounds::time_range;
use crate::scan::StoreScan;
use crate::streaming::Streaming;
use crate::tail::StoreTail;

/// A table of the store, as DataFusion sees it. A plan reads it as it is when the plan is made; one that streams follows it.
#[derive(Debug)]
pub struct StoreTable {
    table: Arc<Table>,
}

impl StoreTable {
    /// Of that table.
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let supports = |filter: &&Expr| match time_range(filter) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(supports).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let times = filters.iter().filter_map(time_range).fold(TimeRange::ALL, TimeRange::intersect);
        let bounded = Bounded::new(projection.map(Vec::as_slice), times, limit);
        if state.config().get_extension::<Streaming>().is_some() {
            return Ok(Arc::new(StoreTail::new(Arc::clone(&self.table), bounded)?));
        }
        Ok(Arc::new(StoreScan::new(self.table.name(), self.table.snapshot(), bounded)?))
    }
}
