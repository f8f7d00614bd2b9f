use super::{Committed, Key, Store, Transaction, decode, encode};
use crate::Error;

/// How often somebody began to keep the state. Who began last is the one who may write.
const KEEPERS: &str = "/keepers";

/// The right to write, until somebody else takes it: whoever was leader before can change nothing any more.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fence {
    /// Our number among those who began, as it is in the store.
    turn: Vec<u8>,
}

impl Fence {
    /// Takes the right from whoever has it.
    ///
    /// # Errors
    /// The store cannot be read or written, or somebody else began at the same moment.
    pub async fn take(store: &dyn Store) -> Result<Fence, Error> {
        let at = Key::new(KEEPERS)?;
        let before = store.get(&at).await?;
        let number = before.as_deref().map(|bytes| decode::<u64>(KEEPERS, bytes)).transpose()?.unwrap_or(0);
        let turn = encode(&(number + 1));
        match store.commit(Transaction::new().expect(at.clone(), before).put(at, turn.clone())).await? {
            Committed::Done => Ok(Fence { turn }),
            Committed::Conflict => Err(Error::Conflict { what: KEEPERS.to_owned() }),
        }
    }

    /// Writes, if nobody took the right meanwhile. `what` is for the error.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody did, or another condition of the transaction does not hold; otherwise as [`Store::commit`].
    pub async fn commit(&self, store: &dyn Store, transaction: Transaction, what: &str) -> Result<(), Error> {
        let transaction = transaction.expect(Key::new(KEEPERS)?, Some(self.turn.clone()));
        match store.commit(transaction).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(Error::Conflict { what: what.to_owned() }),
        }
    }
}
