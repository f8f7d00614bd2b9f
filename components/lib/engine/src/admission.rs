use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// How many queries run and wait.
#[derive(Debug)]
pub(crate) struct Admission {
    running_max: usize,
    waiting_max: usize,
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// Room to run, given back when dropped.
pub(crate) struct Slot {
    _admitted: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl Admission {
    /// At least one runs.
    pub(crate) fn new(running_max: usize, waiting_max: usize) -> Self {
        let running_max = running_max.max(1);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { running_max, waiting_max, admitted: semaphore(running_max.saturating_add(waiting_max)), running: semaphore(running_max) }
    }

    /// Waits for room to run.
    ///
    /// # Errors
    /// As many as may wait do so already.
    pub(crate) async fn slot(&self) -> Result<Slot, Error> {
        let busy = || Error::Busy { running_max: self.running_max, waiting_max: self.waiting_max };
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| busy())?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        Ok(Slot { _admitted: admitted, _running: running })
    }
}
