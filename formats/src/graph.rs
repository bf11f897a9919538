//! `graph.json`: the network itself, beside the card that describes it.

use std::io::Write as _;
use std::path::Path;

use attar_models::{Graph, zoo};

use crate::card::{Card, Origin};
use crate::error::{Error, Result};
use crate::{files, write};

/// Name of the file in the directory of a run and in a bundle.
pub const GRAPH_FILE: &str = "graph.json";

/// A network that a card describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The network, batch norms not folded.
    pub graph: Graph,
    /// Where it came from: its file, or the zoo.
    pub origin: Origin,
    /// What a person should know about where it came from: it was not in a file of its own.
    pub note: Option<String>,
}

/// Writes a graph, atomically; the same graph gives the same bytes.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, graph: &Graph) -> Result<()> {
    let text = graph.to_json()?;
    write::atomically(path, |file| file.write_all(text.as_bytes()))
}

/// Reads a graph; every node passes the checks of the graph's builder.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] with the path: not there, of another version, or no network.
pub fn read(path: &Path) -> Result<Graph> {
    let text =
        files::read_text(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Graph::from_json(&text).map_err(|error| Error::Format { path: path.to_owned(), problem: error.to_string() })
}

/// The network of `card`, which lies in `folder`: its `graph.json`, or, where an older program wrote none, what the zoo
/// builds of the name and options in the card.
///
/// # Errors
/// A graph that does not fit the card; no graph, and no name of the zoo, either.
pub fn of_card(card: &Card, folder: &Path) -> Result<Opened> {
    let path = folder.join(GRAPH_FILE);
    if path.is_file() {
        let graph = read(&path)?;
        let origin = Origin::file(&path)?;
        card.check_graph(&graph).map_err(|error| Error::Format { path, problem: error.to_string() })?;
        return Ok(Opened { graph, origin, note: None });
    }
    let Some(spec) = card.provenance.network.as_ref().and_then(Origin::zoo) else {
        let problem = "there is no such file, and the card does not say how else the network could be built\n  hint: a bundle of an \
                       ONNX file with operations that are not known is no more than that file; `kind = \"onnx\"` takes its \
                       model.onnx as a teacher"
            .to_owned();
        return Err(Error::Format { path, problem });
    };
    let graph = zoo::build(spec)?;
    card.check_graph(&graph)?;
    let note = format!("there is no {GRAPH_FILE} beside its card: built from the zoo's `{}`", spec.name);
    Ok(Opened { graph, origin: Origin::Zoo(spec.clone()), note: Some(note) })
}

#[cfg(test)]
mod tests {
    use attar_models::zoo::NetworkSpec;

    use super::*;
    use crate::card::tests::card;

    #[test]
    fn a_network_opens_without_the_zoo_and_an_older_one_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let graph = zoo::build(&NetworkSpec::new("resnet8", 2, [3, 32, 24])).unwrap();
        let by_zoo = of_card(&card(), folder.path()).unwrap();
        assert_eq!((&by_zoo.graph, Some(&by_zoo.origin)), (&graph, card().provenance.network.as_ref()));
        assert!(by_zoo.note.unwrap().contains("zoo's `resnet8`"));

        let mut unknown = card();
        unknown.provenance.network = None;
        assert!(of_card(&unknown, folder.path()).unwrap_err().to_string().contains("no such file"));
        write(&folder.path().join(GRAPH_FILE), &graph).unwrap();
        let opened = of_card(&unknown, folder.path()).unwrap();
        assert_eq!((opened.graph, opened.note), (graph, None));
        let Origin::Graph(file) = opened.origin else { panic!("{:?}", opened.origin) };
        assert_eq!(file.path, folder.path().join(GRAPH_FILE));
        assert_eq!(file.sha256, crate::hash::sha256(&std::fs::read(&file.path).unwrap()));
    }

    #[test]
    fn a_graph_of_another_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(GRAPH_FILE);
        for (spec, expected) in [
            (NetworkSpec::new("resnet8", 3, [3, 32, 24]), "3 numbers, the card says 2 classes"),
            (NetworkSpec::new("resnet8", 2, [3, 24, 24]), "takes [3, 24, 24], the card says [3, 32, 24]"),
        ] {
            write(&path, &zoo::build(&spec).unwrap()).unwrap();
            let message = of_card(&card(), folder.path()).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(GRAPH_FILE), "{message}");
        }
        std::fs::write(&path, "{}").unwrap();
        assert!(of_card(&card(), folder.path()).unwrap_err().to_string().contains("no `graph_version`"));
    }
}
