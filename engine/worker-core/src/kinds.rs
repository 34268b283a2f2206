//! Classes of results: few, so that each is kept once, however many results there are of it.

use crate::task::KindId;
use bytes::Bytes;
use protocol::Text;

/// Beyond this, classes are not remembered; results of the others can still be told of once.
const MOST: usize = 1000;

struct Kind {
    pickle: Option<Bytes>,
    name: Text,
}

#[derive(Default)]
pub(crate) struct Kinds {
    kinds: Vec<Kind>,
    last: usize,
}

impl Kinds {
    /// `None` if there are too many.
    pub fn of(&mut self, pickle: Option<&Bytes>, name: &Text) -> Option<KindId> {
        let is_it = |kind: &Kind| kind.name == *name && kind.pickle.as_ref() == pickle;
        if !self.kinds.get(self.last).is_some_and(is_it) {
            self.last = match self.kinds.iter().position(is_it) {
                Some(at) => at,
                None if self.kinds.len() == MOST => return None,
                None => {
                    self.kinds.push(Kind {
                        pickle: pickle.map(|bytes| Bytes::copy_from_slice(bytes)),
                        name: name.detached(),
                    });
                    self.kinds.len() - 1
                }
            };
        }
        Some(KindId(self.last as u32))
    }

    /// The pickled class and its name.
    pub fn told(&self, kind: Option<KindId>) -> (Option<Bytes>, Text) {
        let known = kind.and_then(|kind| self.kinds.get(kind.0 as usize));
        known.map_or_else(Default::default, |kind| {
            (kind.pickle.clone(), kind.name.clone())
        })
    }
}
