//! What the few names that a state dictionary needs would build, and which names a file is refused for. Nothing is ever
//! called: a name that is not here builds an object without a meaning.

use super::object::{Arena, ByteArray, Element, Id, Object, Storage, Tensor};

/// Modules that have no business in a checkpoint: a file that names them wants to run something.
const REFUSED_MODULES: [&str; 17] = [
    "commands",
    "ctypes",
    "importlib",
    "marshal",
    "nt",
    "os",
    "pdb",
    "pickle",
    "posix",
    "pty",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "timeit",
    "webbrowser",
];

/// Builtins that run what they are given.
const REFUSED_BUILTINS: [&str; 8] =
    ["eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint"];

/// Longest module or attribute name.
const LONGEST: usize = 256;

/// Most dimensions of a tensor; weights have four.
const MOST_DIMENSIONS: usize = 8;

/// A name, unless it is one that a file is refused for.
pub(super) fn global(module: &str, name: &str) -> Result<Object, String> {
    if module.len() > LONGEST || name.len() > LONGEST {
        return Err(format!("a name of more than {LONGEST} bytes"));
    }
    let root = module.split('.').next().unwrap_or_default();
    let builtin = matches!(root, "builtins" | "__builtin__") && REFUSED_BUILTINS.contains(&name);
    if builtin || REFUSED_MODULES.contains(&root) {
        return Err(format!(
            "refused: it names `{module}.{name}`, which runs code when Python loads it\n  \
             hint: do not open this file with Python either"
        ));
    }
    Ok(Object::Global(module.to_owned(), name.to_owned()))
}

/// What calling a name with these arguments stands for.
pub(super) enum Call {
    /// A new object.
    New(Object),
    /// One of the arguments.
    Same(Id),
    /// A dictionary with these pairs.
    Dict(Vec<Id>),
}

/// Looks a call up.
pub(super) fn call(arena: &Arena, callable: Id, arguments: Id) -> Result<Call, String> {
    let arguments = match arena.get(arguments) {
        Object::Tuple(items) => items.as_slice(),
        _ => &[],
    };
    let Object::Global(module, name) = arena.get(callable) else { return Ok(Call::New(Object::Built(callable))) };
    match (module.as_str(), name.as_str(), arguments) {
        ("collections", "OrderedDict", []) => Ok(Call::Dict(Vec::new())),
        // Python 2 gives the items as a list of pairs.
        ("collections", "OrderedDict", [items, ..]) => match arena.get(*items) {
            Object::List(pairs) => Ok(Call::Dict(pairs.clone())),
            _ => Ok(Call::New(Object::Built(callable))),
        },
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor", [storage, offset, shape, strides, ..]) => {
            tensor(arena, [*storage, *offset, *shape, *strides]).map(Call::New)
        }
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [data, ..]) => Ok(Call::Same(*data)),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct", _) => Ok(Call::New(Object::Unfilled)),
        ("numpy", "dtype", [name, ..]) => {
            let is_bytes = matches!(arena.name(*name), Some("u1" | "|u1" | "uint8"));
            Ok(Call::New(Object::ElementType(is_bytes)))
        }
        ("_codecs", "encode", [text, encoding]) if matches!(arena.name(*encoding), Some("latin1" | "latin-1")) => {
            Ok(Call::New(Object::Latin(*text)))
        }
        _ => Ok(Call::New(Object::Built(callable))),
    }
}

/// An array of numpy out of its state: version, shape, element type, whether columns come first, bytes. One of another element
/// type is nothing that is known here.
pub(super) fn filled(arena: &Arena, state: Id) -> Result<Object, String> {
    let Object::Tuple(state) = arena.get(state) else { return Ok(Object::Other("numpy.ndarray")) };
    let [_, shape, element, by_columns, elements] = state.as_slice() else { return Ok(Object::Other("numpy.ndarray")) };
    match (arena.get(*element), arena.get(*by_columns), counts(arena, *shape)) {
        (Object::ElementType(true), Object::Bool(false), Some(shape)) => {
            Ok(Object::Bytes(ByteArray { shape, elements: *elements }))
        }
        (Object::ElementType(true), ..) => Err("an array of numpy that is not stored row by row".to_owned()),
        _ => Ok(Object::Other("array of other than unsigned bytes")),
    }
}

fn tensor(arena: &Arena, [storage, offset, shape, strides]: [Id; 4]) -> Result<Object, String> {
    let Object::Storage(storage) = arena.get(storage) else {
        return Ok(Object::Other("tensor without a storage of its own"));
    };
    match (arena.count(offset), counts(arena, shape), counts(arena, strides)) {
        (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
            Ok(Object::Tensor(Tensor { storage: *storage, offset, shape, strides }))
        }
        _ => Err(format!("a tensor whose offset, shape or strides are not at most {MOST_DIMENSIONS} counts")),
    }
}

fn counts(arena: &Arena, id: Id) -> Option<Vec<usize>> {
    match arena.get(id) {
        Object::Tuple(items) | Object::List(items) if items.len() <= MOST_DIMENSIONS => {
            items.iter().map(|item| arena.count(*item)).collect()
        }
        // `torch.Size((2, 3))` was built by a name.
        _ => None,
    }
}

/// What a persistent id stands for: `('storage', class, key, location, count)`; older files add `None` or
/// `(key, first, count)` of a view.
/// A pickled module names its class in this way too, `('module', class, file, source)`.
pub(super) fn persistent(arena: &Arena, id: Id) -> Result<Call, String> {
    let Object::Tuple(parts) = arena.get(id) else { return Err("a persistent id that is not a tuple".to_owned()) };
    let (class, key, count, view) = match (parts.first().and_then(|kind| arena.name(*kind)), parts.as_slice()) {
        (Some("storage"), [_, class, key, _, count, view @ ..]) => (class, key, count, view),
        (Some("module"), [_, class, ..]) => return Ok(Call::Same(*class)),
        _ => return Ok(Call::New(Object::Other("persistent object"))),
    };
    let element = match arena.get(*class) {
        Object::Global(module, name) if module == "torch" || module.starts_with("torch.") => Element::of_class(name),
        _ => return Err("a storage of a class that is not torch's".to_owned()),
    };
    if arena.name(*key).is_none() {
        return Err("a storage whose key is not a name".to_owned());
    }
    let range = match view.first().map(|id| arena.get(*id)) {
        None | Some(Object::None) => arena.count(*count).map(|count| (0, count)),
        Some(Object::Tuple(parts)) if parts.len() == 3 => arena.count(parts[1]).zip(arena.count(parts[2])),
        Some(_) => None,
    };
    let (start, count) = range.ok_or("a storage whose size is not a count")?;
    Ok(Call::New(Object::Storage(Storage { element, key: *key, start, count })))
}
