use std::sync::Arc;

/// Entries in one chunk. A change copies one chunk and the list of chunks: with the 5,000 batches of a full table some 150 pointers.
const CHUNK_ENTRIES_MAX: usize = 64;

/// A list that is cheap to copy, extend at the end and shorten at both ends. Copies share what they have in common.
#[derive(Debug)]
pub(crate) struct List<T> {
    /// None is empty.
    chunks: Vec<Arc<Vec<Arc<T>>>>,
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> List<T> {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<T>> {
        self.chunks.iter().flat_map(|c| c.iter())
    }

    pub(crate) fn first(&self) -> Option<&Arc<T>> {
        self.chunks.first().and_then(|c| c.first())
    }

    pub(crate) fn push(&mut self, entry: Arc<T>) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ENTRIES_MAX => Arc::make_mut(chunk).push(entry),
            Some(_) | None => self.chunks.push(Arc::new(vec![entry])),
        }
    }

    pub(crate) fn pop_first(&mut self) -> Option<Arc<T>> {
        let chunk = Arc::make_mut(self.chunks.first_mut()?);
        let entry = chunk.remove(0);
        if chunk.is_empty() {
            self.chunks.remove(0);
        }
        Some(entry)
    }

    pub(crate) fn pop_last(&mut self) -> Option<Arc<T>> {
        let chunk = Arc::make_mut(self.chunks.last_mut()?);
        let entry = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        entry
    }

    /// The entries from the first on for which `before` is false; `before` is true for a prefix.
    pub(crate) fn starting_at<'a>(&'a self, before: impl Fn(&T) -> bool + 'a) -> impl Iterator<Item = &'a Arc<T>> {
        // The last chunk that starts inside the prefix is the first that can end outside it.
        let chunk = self.chunks.partition_point(|c| c.first().is_some_and(|e| before(e))).saturating_sub(1);
        self.chunks.iter().skip(chunk).flat_map(|c| c.iter()).skip_while(move |e| before(e))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Push,
        PopFirst,
        PopLast,
    }

    proptest! {
        #[test]
        fn it_is_a_deque_and_copies_do_not_change(steps in prop::collection::vec(prop_oneof![
            5 => Just(Step::Push), 2 => Just(Step::PopFirst), 1 => Just(Step::PopLast)], 0..600), at in 0usize..600, from in 0u32..600) {
            let (mut list, mut model, mut next) = (List::default(), VecDeque::new(), 0u32);
            let mut kept = None;
            for (i, step) in steps.into_iter().enumerate() {
                if i == at {
                    kept = Some((list.clone(), model.clone()));
                }
                match step {
                    Step::Push => {
                        list.push(Arc::new(next));
                        model.push_back(next);
                        next += 1;
                    }
                    Step::PopFirst => prop_assert_eq!(list.pop_first().map(|v| *v), model.pop_front()),
                    Step::PopLast => prop_assert_eq!(list.pop_last().map(|v| *v), model.pop_back()),
                }
            }
            for (list, model) in kept.into_iter().chain([(list, model)]) {
                prop_assert_eq!(list.first().map(|v| **v), model.front().copied());
                prop_assert_eq!(list.iter().map(|v| **v).collect::<Vec<_>>(), Vec::from(model.clone()));
                let expected: Vec<_> = model.into_iter().filter(|v| *v >= from).collect();
                prop_assert_eq!(list.starting_at(|v| *v < from).map(|v| **v).collect::<Vec<_>>(), expected);
            }
        }
    }
}
