//! Runs the stack machine of a pickle symbolically: every opcode makes or changes a node.

use bytes::Bytes;

use super::tree::{Make, Mutation, Node, NodeId, Tree};
use super::{Unsupported, opcode};
use crate::text::Text;

/// The most nodes a tree may have.
const MAX_NODES: usize = 64 << 20;

pub(super) struct Reader<'a> {
    source: &'a Bytes,
    position: usize,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: Vec<Option<NodeId>>,
    /// Whether a node has been given a memo slot.
    memoized: Vec<bool>,
    buffers: usize,
    protocol: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Bytes) -> Self {
        Self {
            source,
            position: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            memoized: Vec::new(),
            buffers: 0,
            protocol: 0,
        }
    }

    pub(super) fn read(self) -> Result<Tree, Unsupported> {
        self.read_within(usize::MAX)
    }

    pub(super) fn read_within(mut self, max_opcodes: usize) -> Result<Tree, Unsupported> {
        for _ in 0..max_opcodes {
            let opcode = self.byte()?;
            if opcode == opcode::STOP {
                let root = self.pop()?;
                return Ok(Tree {
                    nodes: self.nodes,
                    root,
                    protocol: self.protocol,
                });
            }
            self.step(opcode)?;
        }
        Err(Unsupported::TooLarge(max_opcodes))
    }

    fn step(&mut self, opcode: u8) -> Result<(), Unsupported> {
        match opcode {
            opcode::PROTO => {
                self.protocol = self.byte()?;
                Ok(())
            }
            opcode::FRAME => self.take(8).map(drop),
            opcode::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            opcode::POP => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.discard(),
            },
            opcode::POP_MARK => self.pop_mark().map(drop),
            opcode::DUP => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            opcode::MEMOIZE => self.memoize(self.memo.len()),
            opcode::BINPUT | opcode::LONG_BINPUT => {
                let slot = self.length(if opcode == opcode::BINPUT { 1 } else { 4 })?;
                self.memoize(slot)
            }
            opcode::BINGET | opcode::LONG_BINGET => {
                let slot = self.length(if opcode == opcode::BINGET { 1 } else { 4 })?;
                let id = self
                    .memo
                    .get(slot)
                    .copied()
                    .flatten()
                    .ok_or_else(|| self.malformed("unknown memo"))?;
                self.stack.push(id);
                Ok(())
            }
            _ => self.step_data(opcode),
        }
    }

    /// Opcodes that push data.
    fn step_data(&mut self, opcode: u8) -> Result<(), Unsupported> {
        let node = match opcode {
            opcode::NONE => Node::None,
            opcode::NEWTRUE => Node::Bool(true),
            opcode::NEWFALSE => Node::Bool(false),
            opcode::BININT1 | opcode::BININT2 => {
                let width = if opcode == opcode::BININT1 { 1 } else { 2 };
                Node::Int(self.length(width)? as i64)
            }
            opcode::BININT => Node::Int(i64::from(i32::from_le_bytes(self.array()?))),
            opcode::LONG1 | opcode::LONG4 => {
                let len = self.length(if opcode == opcode::LONG1 { 1 } else { 4 })?;
                self.integer(len)?
            }
            opcode::BINFLOAT => Node::Float(f64::from_be_bytes(self.array()?)),
            opcode::SHORT_BINUNICODE => Node::Str(Text::from_bytes(self.counted(1)?)),
            opcode::BINUNICODE => Node::Str(Text::from_bytes(self.counted(4)?)),
            opcode::BINUNICODE8 => Node::Str(Text::from_bytes(self.counted(8)?)),
            opcode::SHORT_BINBYTES => Node::Bytes(self.counted(1)?),
            opcode::BINBYTES => Node::Bytes(self.counted(4)?),
            opcode::BINBYTES8 => Node::Bytes(self.counted(8)?),
            opcode::BYTEARRAY8 => Node::ByteArray(self.counted(8)?),
            opcode::NEXT_BUFFER => {
                self.buffers += 1;
                Node::Buffer(self.buffers - 1)
            }
            // Before protocol 3 the names are those of Python 2.
            opcode::GLOBAL if self.protocol < 3 => {
                return Err(Unsupported::NotPlain("class of an old pickle protocol"));
            }
            opcode::GLOBAL => Node::Global {
                module: self.line()?,
                name: self.line()?,
            },
            _ => return self.step_container(opcode),
        };
        self.push(node)
    }

    /// Opcodes that make containers or fill them.
    fn step_container(&mut self, opcode: u8) -> Result<(), Unsupported> {
        let node = match opcode {
            opcode::EMPTY_TUPLE => Node::Tuple(Vec::new()),
            opcode::EMPTY_LIST => Node::List(Vec::new()),
            opcode::EMPTY_DICT => Node::Dict(Vec::new()),
            opcode::EMPTY_SET => Node::Set(Vec::new()),
            opcode::TUPLE1..=opcode::TUPLE3 => {
                let items = self.pop_many(usize::from(opcode - opcode::TUPLE1) + 1)?;
                Node::Tuple(items)
            }
            opcode::TUPLE => Node::Tuple(self.pop_mark()?),
            opcode::FROZENSET => Node::FrozenSet(self.pop_mark()?),
            opcode::APPEND => {
                let item = self.pop()?;
                return self.change(Mutation::Append(vec![item]));
            }
            opcode::APPENDS => {
                let items = self.pop_mark()?;
                return self.change(Mutation::Append(items));
            }
            opcode::ADDITEMS => {
                let items = self.pop_mark()?;
                return self.change(Mutation::AddItems(items));
            }
            opcode::SETITEM => {
                let items = self.pop_many(2)?;
                return self.change(Mutation::SetItems(vec![(items[0], items[1])]));
            }
            opcode::SETITEMS => {
                let items = self.pop_mark()?;
                if items.len() % 2 != 0 {
                    return Err(self.malformed("key without a value"));
                }
                let entries = items
                    .chunks_exact(2)
                    .map(|pair| (pair[0], pair[1]))
                    .collect();
                return self.change(Mutation::SetItems(entries));
            }
            _ => return self.step_object(opcode),
        };
        self.push(node)
    }

    /// Opcodes that Python would execute.
    fn step_object(&mut self, opcode: u8) -> Result<(), Unsupported> {
        let make = match opcode {
            opcode::STACK_GLOBAL => {
                let [module, name] = self.pop_array()?;
                return self.push_global(module, name);
            }
            opcode::READONLY_BUFFER => {
                let buffer = self.pop()?;
                return self.push(Node::ReadonlyBuffer(buffer));
            }
            opcode::BUILD => {
                let state = self.pop()?;
                return self.change(Mutation::SetState(state));
            }
            opcode::REDUCE => {
                let [callable, arguments] = self.pop_array()?;
                Make::Reduce {
                    callable,
                    arguments,
                }
            }
            opcode::NEWOBJ => {
                let [class, arguments] = self.pop_array()?;
                Make::New { class, arguments }
            }
            opcode::NEWOBJ_EX => {
                let [class, arguments, keywords] = self.pop_array()?;
                Make::NewWithKeywords {
                    class,
                    arguments,
                    keywords,
                }
            }
            opcode => {
                return Err(Unsupported::Opcode {
                    opcode,
                    at: self.position - 1,
                });
            }
        };
        self.push(Node::Object {
            make,
            mutations: Vec::new(),
        })
    }

    fn push_global(&mut self, module: NodeId, name: NodeId) -> Result<(), Unsupported> {
        let text = |id: NodeId| match &self.nodes[id.0 as usize] {
            Node::Str(text) => Ok(text.clone()),
            _ => Err(self.malformed("name of a class is not text")),
        };
        let node = Node::Global {
            module: text(module)?,
            name: text(name)?,
        };
        self.push(node)
    }

    /// Changes the object on top of the stack.
    fn change(&mut self, mutation: Mutation) -> Result<(), Unsupported> {
        let top = self.top()?;
        let at = self.position;
        match (&mut self.nodes[top.0 as usize], mutation) {
            (Node::List(items), Mutation::Append(mut more))
            | (Node::Set(items), Mutation::AddItems(mut more)) => {
                items.append(&mut more);
            }
            (Node::Dict(entries), Mutation::SetItems(mut more)) => entries.append(&mut more),
            (Node::Object { mutations, .. }, mutation) => mutations.push(mutation),
            (_, _) => {
                return Err(Unsupported::Malformed {
                    at,
                    reason: "this kind of value cannot be changed",
                });
            }
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<(), Unsupported> {
        if self.nodes.len() == MAX_NODES {
            return Err(Unsupported::TooLarge(MAX_NODES));
        }
        self.stack.push(NodeId(self.nodes.len() as u32));
        self.nodes.push(node);
        Ok(())
    }

    /// The height below which the innermost mark's opcodes may not reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<NodeId, Unsupported> {
        self.stack
            .get(self.floor()..)
            .and_then(<[_]>::last)
            .copied()
            .ok_or_else(|| self.malformed("empty stack"))
    }

    fn pop(&mut self) -> Result<NodeId, Unsupported> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Python pops what a call returned when the call only changed its first argument, which lies below.
    fn discard(&mut self) -> Result<(), Unsupported> {
        let popped = self.pop()?;
        let Node::Object {
            make: Make::Reduce {
                callable,
                arguments,
            },
            mutations,
        } = &self.nodes[popped.0 as usize]
        else {
            return Ok(());
        };
        let setter = *callable;
        match (&self.nodes[arguments.0 as usize], self.top()) {
            (Node::Tuple(items), Ok(object))
                if items.len() == 2 && items[0] == object && mutations.is_empty() =>
            {
                let state = items[1];
                self.change(Mutation::Call { setter, state })
            }
            _ if self.is_known(popped) => Ok(()),
            _ => Err(Unsupported::NotPlain("call whose result is discarded")),
        }
    }

    /// Whether an object can still be reached after it was popped: Python pops the parts of a tuple that holds itself.
    fn is_known(&self, id: NodeId) -> bool {
        self.memoized.get(id.0 as usize).copied().unwrap_or(false)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<NodeId>, Unsupported> {
        let start = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|start| *start >= self.floor());
        Ok(self
            .stack
            .split_off(start.ok_or_else(|| self.malformed("empty stack"))?))
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[NodeId; N], Unsupported> {
        let items = self.pop_many(N)?;
        <[NodeId; N]>::try_from(items).map_err(|_| self.malformed("empty stack"))
    }

    fn pop_mark(&mut self) -> Result<Vec<NodeId>, Unsupported> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn memoize(&mut self, slot: usize) -> Result<(), Unsupported> {
        // A pickler numbers its memo densely; a far slot is somebody trying to make us allocate.
        if slot > self.memo.len() + self.nodes.len() + 1 {
            return Err(self.malformed("memo slot out of order"));
        }
        let top = self.top()?;
        if slot >= self.memo.len() {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(top);
        self.memoized.resize(self.nodes.len(), false);
        self.memoized[top.0 as usize] = true;
        Ok(())
    }

    fn integer(&mut self, len: usize) -> Result<Node, Unsupported> {
        let bytes = self.take(len)?;
        if len > 8 {
            return Ok(Node::BigInt(bytes));
        }
        let fill = if bytes.last().is_some_and(|last| *last >= 0x80) {
            0xff
        } else {
            0
        };
        let mut wide = [fill; 8];
        wide[..len].copy_from_slice(&bytes);
        Ok(Node::Int(i64::from_le_bytes(wide)))
    }

    fn malformed(&self, reason: &'static str) -> Unsupported {
        Unsupported::Malformed {
            at: self.position,
            reason,
        }
    }

    fn byte(&mut self) -> Result<u8, Unsupported> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unsupported> {
        let bytes = self.source[self.position..]
            .first_chunk::<N>()
            .ok_or(Unsupported::Truncated)?;
        self.position += N;
        Ok(*bytes)
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Unsupported> {
        if len > self.source.len() - self.position {
            return Err(Unsupported::Truncated);
        }
        self.position += len;
        Ok(self.source.slice(self.position - len..self.position))
    }

    /// A little-endian number of one to eight bytes.
    fn length(&mut self, width: usize) -> Result<usize, Unsupported> {
        let bytes = self.take(width)?;
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&bytes);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| Unsupported::Truncated)
    }

    fn counted(&mut self, width: usize) -> Result<Bytes, Unsupported> {
        let len = self.length(width)?;
        self.take(len)
    }

    fn line(&mut self) -> Result<Text, Unsupported> {
        let rest = &self.source[self.position..];
        let len = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(Unsupported::Truncated)?;
        let line = self.take(len)?;
        self.position += 1;
        Ok(Text::from_bytes(line))
    }
}
