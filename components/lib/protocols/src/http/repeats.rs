use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;

use super::limits::{REPEATED_FIELDS_BYTES_MAX, REPEATS_MAX};

/// Header fields that came lately, all connections together: clients and servers send the same ones again and again, and what was made of them serves
/// once more. What it knows changes no result.
#[derive(Debug)]
pub(super) struct Repeats<T> {
    slots: Vec<Slot<T>>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Slot<T> {
    /// Of the fields that came last; most come once, and of those nothing else is kept.
    hash: u64,
    known: Option<Known<T>>,
}

/// Fields that came more than once.
#[derive(Debug)]
struct Known<T> {
    /// As they were sent, up to the end of the head.
    fields: Vec<u8>,
    headers: String,
    facts: T,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Repeats { slots: Vec::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<T: Copy> Repeats<T> {
    /// What `make` makes of `fields`: their column, and facts. It must depend on nothing else.
    pub(super) fn of<Error>(&mut self, fields: &[u8], make: impl FnOnce() -> Result<(String, T), Error>) -> Result<(String, T), Error> {
        if fields.len() > REPEATED_FIELDS_BYTES_MAX {
            return make();
        }
        if self.slots.is_empty() {
            self.slots.resize_with(REPEATS_MAX, || Slot { hash: 0, known: None });
        }
        let hash = self.hasher.hash_one(fields);
        let Some(slot) = self.slots.get_mut(hash as usize % REPEATS_MAX) else { return make() };
        if let Some(known) = slot.known.as_ref().filter(|known| slot.hash == hash && known.fields == fields) {
            return Ok((known.headers.clone(), known.facts));
        }
        let (headers, facts) = make()?;
        let is_repeated = std::mem::replace(&mut slot.hash, hash) == hash;
        slot.known = is_repeated.then(|| Known { fields: fields.to_vec(), headers: headers.clone(), facts });
        Ok((headers, facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_twice_is_not_made_a_third_time() {
        let (mut repeats, mut made) = (Repeats::default(), Vec::new());
        for fields in ["a", "a", "b", "a", "b", "c", "a", "c", "c"] {
            let text = fields.to_uppercase();
            let outcome = repeats.of(fields.as_bytes(), || {
                made.push(fields);
                Ok::<_, ()>((text.clone(), fields.len()))
            });
            assert_eq!(outcome, Ok((text, 1)));
        }
        // Unless two share a place, which costs a repetition and nothing else.
        assert!(made.len() >= 6 && made.len() <= 9, "{made:?}");
    }

    #[test]
    fn what_is_wrong_is_wrong_each_time_and_what_is_long_is_not_kept() {
        let mut repeats = Repeats::<()>::default();
        for _ in 0..3 {
            assert_eq!(repeats.of(b"wrong", || Err(7)), Err(7));
        }
        let mut made = 0;
        for _ in 0..3 {
            let long = [b'x'; REPEATED_FIELDS_BYTES_MAX + 1];
            let _ = repeats.of(&long, || {
                made += 1;
                Ok::<_, ()>((String::new(), ()))
            });
        }
        assert_eq!(made, 3);
    }
}
