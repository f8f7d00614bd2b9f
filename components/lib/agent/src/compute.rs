use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tower::Service;

use crate::Error;

/// Planning calls itself once for each operator and expression of a script, many KiB a level in a build that is not optimised. What is not
/// touched is not taken.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The threads that make rows. Connections are served by other threads, which therefore always have time to answer.
#[derive(Debug)]
pub struct Compute {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Compute {
    /// At least one thread.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("compute")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build();
        let runtime = runtime.map_err(Error::Threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Compute {
    /// May happen inside another runtime, where waiting is forbidden.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Answers requests on the compute threads.
#[derive(Debug, Clone)]
pub(crate) struct OnCompute<S> {
    pub(crate) inner: S,
    pub(crate) handle: Handle,
}

impl<S, B, R> Service<Request<B>> for OnCompute<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(|never| match never {})
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // What was ready is `self`, not the clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let task = AbortOnDropHandle::new(self.handle.spawn(async move { inner.call(request).await }));
        Box::pin(async move {
            match task.await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(never)) => match never {},
                Err(gone) => Err(gone.into()),
            }
        })
    }
}
