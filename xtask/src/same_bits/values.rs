//! What came of a run, as values by name: tensors, columns of metrics, numbers of the certificate. Which file held them, and in
//! what order, does not matter; times, names of programs and hashes of files are no values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use attar_formats::checkpoint::{self, file};
use attar_formats::read;
use safetensors::SafeTensors;

/// Values by name; of a tensor type, shape and bytes, of anything else its text.
#[derive(Default)]
pub(crate) struct Values(BTreeMap<String, Value>);

#[derive(PartialEq)]
enum Value {
    Tensor { kind: String, shape: Vec<usize>, bytes: Vec<u8> },
    Text(String),
}

/// Parts of a certificate that are counted or computed of decisions and logits.
const CERTIFIED: [&str; 12] = [
    "agreement",
    "gained",
    "lost",
    "flips",
    "low",
    "high",
    "difference",
    "reference_accuracy",
    "runtime_accuracy",
    "max_diff",
    "logit_max_diff",
    "paired",
];

impl Values {
    /// Everything below `folder`, and the certificate.
    pub(crate) fn read(folder: &Path, certificate: &str) -> Result<Self> {
        let mut values = Self::default();
        let mut files = Vec::new();
        collect(folder, &mut files)?;
        for path in files {
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let place = below.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("metrics.csv") => values.metrics(&place, &std::fs::read_to_string(&path)?),
                Some(file::TRAINER) => values.trainer(&place, &path).with_context(|| path.display().to_string())?,
                Some(name) if name.ends_with(".safetensors") => {
                    let group = if name.starts_with("golden") { name } else { "" };
                    values
                        .tensors(&format!("{place}/{group}"), &std::fs::read(&path)?)
                        .with_context(|| path.display().to_string())?;
                }
                Some("model.onnx") => {
                    let bytes = std::fs::read(&path)?;
                    values.0.insert(
                        format!("{place}/model.onnx"),
                        Value::Tensor { kind: "file".to_owned(), shape: vec![bytes.len()], bytes },
                    );
                }
                _ => {}
            }
        }
        let certificate: serde_json::Value = serde_json::from_str(certificate).context("the certificate is no JSON")?;
        values.certificate("certificate", &certificate);
        ensure!(!values.0.is_empty(), "{} holds no values", folder.display());
        Ok(values)
    }

    /// What a checkpoint keeps beside the model, whatever its version, as one of today holds it.
    fn trainer(&mut self, place: &str, path: &Path) -> Result<()> {
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path.with_file_name(file::STATE))?)?;
        let version = state["version"].as_u64().context("a checkpoint without a version")?;
        for (name, array) in checkpoint::trainer(read::arrays(path)?, u32::try_from(version)?)?.0 {
            let mut bytes = Vec::new();
            array.elements.le_bytes(|block| {
                bytes.extend(block);
                Ok::<_, anyhow::Error>(())
            })?;
            let value = Value::Tensor { kind: array.elements.type_name().to_owned(), shape: array.shape, bytes };
            self.0.insert(format!("{place}/:{name}"), value);
        }
        Ok(())
    }

    fn tensors(&mut self, place: &str, bytes: &[u8]) -> Result<()> {
        for (name, tensor) in SafeTensors::deserialize(bytes)?.tensors() {
            let value = Value::Tensor {
                kind: format!("{:?}", tensor.dtype()),
                shape: tensor.shape().to_vec(),
                bytes: tensor.data().to_vec(),
            };
            self.0.insert(format!("{place}:{name}"), value);
        }
        Ok(())
    }

    /// Every cell but the seconds, by row and column.
    fn metrics(&mut self, place: &str, text: &str) {
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        for (row, line) in lines.enumerate() {
            for (column, cell) in header.iter().zip(line.split(',')).filter(|(column, _)| **column != "seconds") {
                self.0.insert(format!("{place}/metrics {row} {column}"), Value::Text(cell.to_owned()));
            }
        }
    }

    fn certificate(&mut self, place: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(entries) => {
                for (key, value) in entries {
                    let place = format!("{place}.{key}");
                    match value.is_number() && CERTIFIED.contains(&key.as_str()) {
                        true => drop(self.0.insert(place, Value::Text(value.to_string()))),
                        false => self.certificate(&place, value),
                    }
                }
            }
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| self.certificate(&format!("{place}[{i}]"), item));
            }
            _ => {}
        }
    }

    /// In what two differ, in words.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in &self.0 {
            match (value, other.0.get(name)) {
                (_, None) => found.push(format!("{name}: only in the base")),
                (own, Some(new)) if own == new => {}
                (Value::Text(own), Some(Value::Text(new))) => {
                    found.push(format!("{name}: {own} in the base, {new} in the tree"));
                }
                (Value::Tensor { kind, shape, bytes }, Some(Value::Tensor { kind: k, shape: s, bytes: b })) => {
                    let apart = if (kind, shape) == (k, s) {
                        largest(kind, bytes, b)
                    } else {
                        format!("{kind}{shape:?} and {k}{s:?}")
                    };
                    found.push(format!("{name}: {apart}"));
                }
                _ => found.push(format!("{name}: another kind of value")),
            }
        }
        let new = other.0.keys().filter(|name| !self.0.contains_key(*name));
        found.extend(new.map(|name| format!("{name}: only in the tree")));
        found
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many numbers they hold.
    pub(crate) fn numbers(&self) -> usize {
        let count = |value: &Value| match value {
            Value::Tensor { shape, .. } => shape.iter().product(),
            Value::Text(_) => 1,
        };
        self.0.values().map(count).sum()
    }
}

/// How far two arrays of one type and shape are apart, in words.
fn largest(kind: &str, a: &[u8], b: &[u8]) -> String {
    let floats =
        |bytes: &[u8]| -> Vec<f32> { bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect() };
    match kind {
        "F32" => {
            let apart = floats(a).iter().zip(floats(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            format!("largest difference {apart:e}")
        }
        _ => format!("{} of {} bytes differ", a.iter().zip(b).filter(|(a, b)| a != b).count(), a.len()),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    files.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(weight: f32, lost: u64) -> Values {
        let folder = tempfile::tempdir().unwrap();
        let bytes = weight.to_le_bytes();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &bytes).unwrap();
        let file = safetensors::serialize([("w", view)], None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
        std::fs::write(folder.path().join("metrics.csv"), format!("epoch,seconds\n1,{weight}\n")).unwrap();
        let certificate = format!("{{\"runtimes\": [{{\"lost\": {lost}, \"seconds\": {weight}}}]}}");
        Values::read(folder.path(), &certificate).unwrap()
    }

    #[test]
    fn values_differ_and_times_do_not() {
        let base = values(1.0, 3);
        assert_eq!((base.len(), base.numbers()), (3, 3));
        assert!(base.differences(&values(1.0, 3)).is_empty());
        let found = base.differences(&values(1.5, 4));
        assert_eq!(
            found,
            ["/:w: largest difference 5e-1", "certificate.runtimes[0].lost: 3 in the base, 4 in the tree"]
        );
    }
}
