//! A pickle machine that only builds data: a whitelist of opcodes, and no way to call anything.
//!
//! Every object costs at least one opcode of input, and the opcodes are counted.

mod names;
mod object;

use std::collections::BTreeMap;

use self::names::Call;
pub(super) use self::object::{Arena, ByteArray, Element, Id, Object, Tensor};

/// More opcodes, and items of dictionaries, than any checkpoint needs (a ResNet-152 takes some 60 000).
const MOST_STEPS: usize = 1 << 21;

/// Runs one pickle at the start of `bytes` and returns its result and the number of bytes it took.
pub(super) fn load(arena: &mut Arena, bytes: &[u8]) -> Result<(Id, usize), String> {
    let mut machine =
        Machine { arena, bytes, at: 0, steps: 0, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() };
    loop {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(result)) => return Ok((result, machine.at)),
            Err(problem) => return Err(format!("byte {at} of the pickle: {problem}")),
        }
    }
}

struct Machine<'a> {
    arena: &'a mut Arena,
    bytes: &'a [u8],
    at: usize,
    steps: usize,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: BTreeMap<usize, Id>,
}

impl<'a> Machine<'a> {
    /// One opcode; the result when it was the last one.
    fn step(&mut self) -> Result<Option<Id>, String> {
        self.spend(1)?;
        let [opcode] = self.array()?;
        match opcode {
            0x80 => drop(self.take(1)?), // PROTO
            0x95 => drop(self.take(8)?), // FRAME
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Bool(true)),
            0x89 => self.push(Object::Bool(false)),
            b'K' | b'M' | b'J' => self.small_int(opcode)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Object::Float(value));
            }
            b'X' | b'T' | b'B' => self.text(4)?,
            0x8c | b'U' | b'C' => self.text(1)?,
            0x8d | 0x8e => self.text(8)?,
            b')' => self.push(Object::Tuple(Vec::new())),
            b't' | b'l' | b'd' | 0x91 => self.collect(opcode)?,
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            0x8f => self.push(Object::Other("set")),
            b'a' | b's' => self.add_to_top(if opcode == b'a' { 1 } else { 2 })?,
            b'e' | b'u' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => {
                let (key, top) = (self.memo.len(), self.top()?);
                self.memo.insert(key, top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => self.global_of_lines()?,
            0x93 => self.global_of_stack()?,
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            other => return Err(format!("opcode 0x{other:02x} is not one of a checkpoint")),
        }
        Ok(None)
    }

    fn spend(&mut self, steps: usize) -> Result<(), String> {
        self.steps += steps;
        if self.steps > MOST_STEPS { Err(format!("more than {MOST_STEPS} steps")) } else { Ok(()) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| format!("{count} bytes expected, {} left", rest.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        <[u8; N]>::try_from(taken).map_err(|error| error.to_string())
    }

    /// A little-endian unsigned number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<usize, String> {
        let value = self.take(width)?.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| format!("{value} is too large"))
    }

    fn push(&mut self, object: Object) {
        let id = self.arena.add(object);
        self.stack.push(id);
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn small_int(&mut self, opcode: u8) -> Result<(), String> {
        let value = match opcode {
            b'K' => i64::from(self.array::<1>()?[0]),
            b'M' => i64::from(u16::from_le_bytes(self.array()?)),
            _ => i64::from(i32::from_le_bytes(self.array()?)),
        };
        self.push(Object::Int(value));
        Ok(())
    }

    /// Two's complement of any length.
    fn long(&mut self, width: usize) -> Result<(), String> {
        let length = self.number(width)?;
        let bytes = self.take(length)?;
        let object = if bytes.len() > 8 {
            Object::Long(bytes.to_vec())
        } else {
            let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
            let mut padded = [fill; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            Object::Int(i64::from_le_bytes(padded))
        };
        self.push(object);
        Ok(())
    }

    /// Text, or a byte string: names of Python 2 are byte strings, others do not matter.
    fn text(&mut self, width: usize) -> Result<(), String> {
        let length = self.number(width)?;
        let start = self.at;
        let object = match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Object::Str(text.to_owned()),
            Err(_) => Object::Raw { start, end: self.at },
        };
        self.push(object);
        Ok(())
    }

    fn collect(&mut self, opcode: u8) -> Result<(), String> {
        let items = self.pop_mark()?;
        self.push(match opcode {
            b't' => Object::Tuple(items),
            b'l' => Object::List(items),
            b'd' => Object::Dict(pairs(&items)?),
            _ => Object::Other("frozenset"),
        });
        Ok(())
    }

    fn short_tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Object::Tuple(items));
        Ok(())
    }

    fn add_to_top(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.extend(items)
    }

    /// Adds items to the list, or keys and values to the dictionary, on top of the stack.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match self.arena.get_mut(top) {
            Object::List(list) => list.extend(items),
            Object::Dict(dict) => dict.extend(pairs(&items)?),
            Object::Built(_) | Object::Other(_) => {}
            _ => return Err("items are added to something that is neither a list nor a dictionary".to_owned()),
        }
        Ok(())
    }

    fn put(&mut self, width: usize) -> Result<(), String> {
        let key = self.number(width)?;
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), String> {
        let key = self.number(width)?;
        let id = self.memo.get(&key).copied().ok_or_else(|| format!("nothing is remembered under {key}"))?;
        self.stack.push(id);
        Ok(())
    }

    fn global_of_lines(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = names::global(module, name)?;
        self.push(global);
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("a line without an end")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name that is not UTF-8".to_owned())
    }

    fn global_of_stack(&mut self) -> Result<(), String> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Some(module), Some(name)) = (self.arena.name(module), self.arena.name(name)) else {
            return Err("a name that is not text".to_owned());
        };
        let global = names::global(module, name)?;
        self.push(global);
        Ok(())
    }

    /// REDUCE and NEWOBJ: what calling a known name with these arguments would build.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let called = names::call(self.arena, callable, arguments)?;
        self.answer(called)
    }

    /// BUILD: the content of an array of numpy, or attributes of an object, which carry no tensors of a state dictionary.
    fn build(&mut self) -> Result<(), String> {
        let (state, built) = (self.pop()?, self.top()?);
        if *self.arena.get(built) == Object::Unfilled {
            let filled = names::filled(self.arena, state)?;
            *self.arena.get_mut(built) = filled;
        }
        Ok(())
    }

    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let named = names::persistent(self.arena, id)?;
        self.answer(named)
    }

    fn answer(&mut self, answer: Call) -> Result<(), String> {
        match answer {
            Call::New(object) => self.push(object),
            Call::Same(id) => self.stack.push(id),
            Call::Dict(pairs) => {
                self.spend(pairs.len())?;
                let pair = |id: &Id| match self.arena.get(*id) {
                    Object::List(pair) | Object::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
                    _ => None,
                };
                let entries = pairs.iter().filter_map(pair).collect();
                self.push(Object::Dict(entries));
            }
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}
