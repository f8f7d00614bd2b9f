use std::collections::BTreeSet;

use ids::Asid;

/// The numbers that are in use. One that was given back is used again when all larger ones have been, so that rows of the agent before have gone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Asids {
    used: BTreeSet<u32>,
    last: u32,
}

impl Asids {
    /// `last` is the last one that was given before a restart.
    pub(super) fn new(last: Asid, used: impl IntoIterator<Item = Asid>) -> Asids {
        Asids { used: used.into_iter().map(|asid| asid.0).collect(), last: last.0 }
    }

    pub(super) fn last(&self) -> Asid {
        Asid(self.last)
    }

    /// The one that is wished for if it is free, else the next free one. 0 is nobody's.
    pub(super) fn give(&mut self, wished: Option<Asid>) -> Asid {
        let wished = wished.map(|asid| asid.0).filter(|asid| *asid != 0 && !self.used.contains(asid));
        let given = if let Some(asid) = wished {
            self.last = self.last.max(asid);
            asid
        } else {
            // There are far fewer agents than numbers: this ends.
            loop {
                self.last = self.last.wrapping_add(1);
                if self.last != 0 && !self.used.contains(&self.last) {
                    break self.last;
                }
            }
        };
        self.used.insert(given);
        Asid(given)
    }

    pub(super) fn give_back(&mut self, asid: Asid) {
        self.used.remove(&asid.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_come_again_after_a_wrap() {
        let mut asids = Asids::default();
        assert_eq!((asids.give(None), asids.give(None)), (Asid(1), Asid(2)));
        asids.give_back(Asid(1));
        assert_eq!(asids.give(None), Asid(3), "1 is free, but not yet used again");
        let mut asids = Asids::new(Asid(u32::MAX), [Asid(1), Asid(2)]);
        assert_eq!(asids.give(None), Asid(3), "0 is nobody's, 1 and 2 are taken");
    }

    #[test]
    fn a_wish_is_granted_if_nobody_has_the_number() {
        let mut asids = Asids::new(Asid(4), [Asid(4)]);
        assert_eq!(asids.give(Some(Asid(9))), Asid(9));
        assert_eq!(asids.give(Some(Asid(9))), Asid(10));
        assert_eq!((asids.give(Some(Asid(0))), asids.give(Some(Asid(2)))), (Asid(11), Asid(2)));
    }
}
