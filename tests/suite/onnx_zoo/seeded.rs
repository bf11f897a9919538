//! Graphs without weights, filled by a seed: `tests/fixtures/onnx/*.onnx.z`, made by `export.py` and
//! `of_keras.py` of `tests/fixtures/make/onnx_zoo`.

use std::io::Read;
use std::path::{Path, PathBuf};

use attar_models::generated;
use attar_onnx::external;

/// A file that PyTorch's exporters wrote.
pub(super) struct Graph {
    /// `NETWORK.EXPORTER`.
    pub(super) name: String,
    path: PathBuf,
}

/// All of them, by name; in their place whole files, `NETWORK.EXPORTER.onnx`, of the folder that `ATTAR_ONNX_ZOO` names.
pub(super) fn graphs() -> Vec<Graph> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    let folder =
        std::env::var_os("ATTAR_ONNX_ZOO").map(PathBuf::from).filter(|named| named.is_dir()).unwrap_or_else(own);
    let mut all: Vec<Graph> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let name = name.strip_suffix(".z").unwrap_or(name).strip_suffix(".onnx")?.to_owned();
            (folder != own() || name.contains('.')).then_some(Graph { name, path })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

impl Graph {
    /// The name of the network, and of what wrote it.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.name.split_once('.').unwrap_or((&self.name, "a file"))
    }

    /// The file with weights: each array even between the bounds that stand in its place, by its name.
    pub(super) fn filled(&self) -> Vec<u8> {
        if self.path.extension().is_some_and(|ending| ending == "onnx") {
            let bytes = std::fs::read(&self.path).unwrap();
            return if external::any(&bytes) { external::inline(&bytes, &self.path).unwrap().model } else { bytes };
        }
        let mut model = Vec::new();
        flate2::read::ZlibDecoder::new(std::fs::File::open(&self.path).unwrap()).read_to_end(&mut model).unwrap();
        let mut numbers = |name: &str, dims: &[u64], entries: &std::collections::BTreeMap<&str, &str>| {
            let bound = |key: &str| entries.get(key).and_then(|text| text.parse::<f32>().ok());
            let (Some("seeded"), Some(low), Some(high)) =
                (entries.get("location").copied(), bound("low"), bound("high"))
            else {
                return Err(format!("`{name}` lies elsewhere and is not seeded"));
            };
            let count = dims.iter().product::<u64>() as usize;
            let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
            Ok(generated::uniform(name, 1, count).iter().flat_map(|u| (middle + half * u).to_le_bytes()).collect())
        };
        external::fill(&model, &mut numbers).unwrap()
    }
}
