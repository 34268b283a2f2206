//! Writes many parts of one tree, each a pickle that opens alone; objects of one class may share how they begin.
//!
//! A prefix loads what the objects have in common and makes an empty object; the rest of each gives it its state. Prefix
//! and rest put together are one pickle.

use super::emit::{EmitError, NodeSet, Scratch};
use super::opcode;
use super::tree::{Make, Node, NodeId, Tree};

/// How the pickles of several objects of one class begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub pickle: Vec<u8>,
    /// The buffers of the original that it takes, in its own order.
    pub buffers: Vec<usize>,
    /// What the rest may refer to, by memo number.
    memo: Vec<NodeId>,
    /// All that it writes.
    nodes: NodeSet,
}

impl Prefix {
    /// How many things the rest may refer to: what each rest costs beside its own bytes.
    pub fn memo_len(&self) -> usize {
        self.memo.len()
    }
}

/// Writes parts of the tree that it owns.
#[derive(Debug)]
pub struct PartWriter {
    tree: Tree,
    scratch: Scratch,
}

impl PartWriter {
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            scratch: Scratch::default(),
        }
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Appends the pickle of one node to `out`, and which buffers it takes.
    pub fn whole(
        &mut self,
        node: NodeId,
        out: &mut Vec<u8>,
        buffers: &mut Vec<usize>,
    ) -> Result<(), EmitError> {
        let mut emitter = self.scratch.begin(&self.tree, out, buffers);
        emitter.begin_pickle();
        emitter.count_references(node);
        emitter.write_node(node)?;
        emitter.end_pickle();
        Ok(())
    }

    /// Loads `shared`, which may hold the class too, and makes an empty `class`.
    pub fn prefix(&mut self, class: NodeId, shared: &[NodeId]) -> Result<Prefix, EmitError> {
        let nodes = self.shareable(shared, class)?;
        let (mut pickle, mut buffers) = (Vec::new(), Vec::new());
        let mut emitter = self.scratch.begin(&self.tree, &mut pickle, &mut buffers);
        emitter.begin_pickle();
        for node in shared {
            emitter.count_references(*node);
            emitter.keep(*node);
        }
        emitter.count_references(class);
        for node in shared {
            emitter.write_node(*node)?;
            emitter.write_opcodes(&[opcode::POP]);
        }
        emitter.write_node(class)?;
        emitter.write_opcodes(&[opcode::EMPTY_TUPLE, opcode::NEWOBJ]);
        let memo = emitter.memo;
        Ok(Prefix {
            pickle,
            buffers,
            memo,
            nodes,
        })
    }

    /// What lies below; no object of this class may, because written in a prefix it would not be the one being made.
    fn shareable(&self, shared: &[NodeId], class: NodeId) -> Result<NodeSet, EmitError> {
        let name = self.tree.as_global(class);
        let is_class = |id: NodeId| id == class || self.tree.as_global(id) == name;
        let mut seen = NodeSet::default();
        let mut pending = shared.to_vec();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.tree.node(id) {
                Node::Object {
                    make: Make::New { class, .. },
                    ..
                } if is_class(*class) => return Err(EmitError::Entangled),
                _ => self.tree.visit_children(id, |child| pending.push(child)),
            }
        }
        Ok(seen)
    }

    /// Appends what follows a prefix: the state of its object. `object` is the node of that object, where it has one.
    /// An entangled state leaves `out` as it was; it can be written as a whole.
    pub fn rest(
        &mut self,
        prefix: &Prefix,
        object: Option<NodeId>,
        state: NodeId,
        out: &mut Vec<u8>,
        buffers: &mut Vec<usize>,
    ) -> Result<(), EmitError> {
        buffers.extend_from_slice(&prefix.buffers);
        let mut emitter = self.scratch.begin(&self.tree, out, buffers);
        emitter.continue_after(&prefix.memo, &prefix.nodes);
        if let Some(object) = object {
            emitter.forbid(object);
        }
        emitter.count_references(state);
        if emitter.is_entangled() {
            return Err(EmitError::Entangled);
        }
        emitter.write_node(state)?;
        emitter.write_opcodes(&[opcode::BUILD]);
        emitter.end_pickle();
        Ok(())
    }

    /// Classes and functions that a part refers to by name, but for what lies below one of its nodes.
    pub fn globals_of(&self, part: NodeId, except: NodeId) -> Vec<NodeId> {
        let mut seen = NodeSet::default();
        seen.insert(except);
        let (mut pending, mut found) = (vec![part], Vec::new());
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.tree.node(id) {
                Node::Global { .. } => found.push(id),
                _ => self.tree.visit_children(id, |child| pending.push(child)),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// `[f, Task(state: (f, [1], [1] again)), Task(state: (f, itself))]` with `f` a function by name.
    const PICKLE: &[u8] = b"\x80\x05](cm\nf\n\x94cm\nTask\n\x94)\x81\x94(h\x00]\x94K\x01ah\x03tb\
        h\x01)\x81\x94h\x00h\x04\x86be.";

    fn parts() -> (PartWriter, Vec<NodeId>) {
        let tree = Tree::read(&Bytes::from_static(PICKLE)).expect("a pickle");
        let Node::List(items) = tree.node(tree.root()) else {
            panic!("a list")
        };
        let items = items.clone();
        (PartWriter::new(tree), items)
    }

    fn class_and_state(tree: &Tree, object: NodeId) -> (NodeId, NodeId) {
        use super::super::Mutation;
        match tree.node(object) {
            Node::Object {
                make: Make::New { class, .. },
                mutations,
            } => match mutations[..] {
                [Mutation::SetState(state)] => (*class, state),
                _ => panic!("one state"),
            },
            _ => panic!("an object"),
        }
    }

    #[test]
    fn prefix_and_rest_are_the_pickle_of_the_object() {
        let (mut writer, items) = parts();
        let (class, state) = class_and_state(writer.tree(), items[1]);
        let prefix = writer.prefix(class, &items[..1]).expect("no cycle");
        let mut pickle = prefix.pickle.clone();
        let mut buffers = Vec::new();
        writer
            .rest(&prefix, Some(items[1]), state, &mut pickle, &mut buffers)
            .expect("no cycle");
        let again = Tree::read(&Bytes::from(pickle)).expect("a pickle");
        let mut whole = Vec::new();
        writer
            .whole(items[1], &mut whole, &mut buffers)
            .expect("no cycle");
        // Written once more, both are the same.
        assert_eq!(again.emit(again.root()).expect("no cycle").pickle, whole);
    }

    #[test]
    fn an_object_inside_its_own_state_has_no_rest() {
        let (mut writer, items) = parts();
        let (class, state) = class_and_state(writer.tree(), items[2]);
        let prefix = writer.prefix(class, &[]).expect("no cycle");
        let refused = writer.rest(
            &prefix,
            Some(items[2]),
            state,
            &mut Vec::new(),
            &mut Vec::new(),
        );
        assert_eq!(refused, Err(EmitError::Cycle));
    }

    #[test]
    fn what_is_shared_may_not_hold_one_of_the_objects() {
        let (mut writer, items) = parts();
        let (class, _) = class_and_state(writer.tree(), items[1]);
        let list = writer.tree().root();
        assert_eq!(writer.prefix(class, &[list]), Err(EmitError::Entangled));
    }

    #[test]
    fn a_state_that_has_something_in_common_with_the_prefix_has_no_rest() {
        // `[partial(l), Task(state: (partial, l))]` with `l` a list.
        let pickle = b"\x80\x05](cm\npartial\n]\x94\x85R\x94cm\nTask\n)\x81h\x01h\x00\x86be.";
        let tree = Tree::read(&Bytes::from_static(pickle)).expect("a pickle");
        let Node::List(items) = tree.node(tree.root()) else {
            panic!("a list")
        };
        let (function, object) = (items[0], items[1]);
        let mut writer = PartWriter::new(tree);
        let (class, state) = class_and_state(writer.tree(), object);
        let prefix = writer.prefix(class, &[function]).expect("no cycle");
        let (mut out, mut buffers) = (vec![1], Vec::new());
        let refused = writer.rest(&prefix, Some(object), state, &mut out, &mut buffers);
        assert_eq!((refused, out), (Err(EmitError::Entangled), vec![1]));
    }

    #[test]
    fn globals_below_the_exception_are_left_out() {
        let (writer, items) = parts();
        let (class, _) = class_and_state(writer.tree(), items[1]);
        assert_eq!(writer.globals_of(items[1], items[0]), [class]);
        assert_eq!(writer.globals_of(items[1], class), [items[0]]);
    }
}
