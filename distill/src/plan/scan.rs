//! Every image is looked at while the plan is made, so that nothing about them is found after the training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_data::{Cache, Dataset, Finding, Hashed, Pipeline, Scan, Source};
use attar_formats::classes::composed;
use attar_formats::receipt::Hashes;
use attar_pixels::comes_out;

use super::fail;
use crate::error::Result;
use crate::recipe::DataSection;

/// Told what is being done, how much of it is done, and of how much.
pub type Progress = Box<dyn Fn(&str, usize, usize) + Send + Sync>;

/// How the images are looked at.
pub(super) struct Look<'a> {
    /// The folder of caches; none are read or written without it.
    pub(super) cache: Option<&'a PathBuf>,
    pub(super) progress: Option<&'a Progress>,
}

/// Images and what is to be asked of their size.
pub(super) struct Part {
    pub(super) images: Arc<dyn Dataset>,
    /// Images that come out in the network's size only if they are made so by evaluation's preprocessing; others are cut to it.
    pub(super) evaluated: Vec<bool>,
}

impl Look<'_> {
    /// Looks at all images and returns them with their hashes; one error lists all that cannot be used.
    pub(super) fn at(
        &self,
        section: &DataSection,
        pipeline: &Pipeline,
        parts: [Part; 2],
    ) -> Result<([Arc<dyn Dataset>; 2], Hashes)> {
        // Hashes are kept by the file, and the images of a program need not be files.
        let cache = self.cache.filter(|_| !matches!(section.source, Source::Given { .. }));
        let cache = cache.map(|folder| Cache::open(folder, section.source.root()));
        let tick = |done: usize, of: usize| {
            if let Some(progress) = self.progress {
                progress("scanning images", done, of);
            }
        };
        let images = parts.each_ref().map(|part| part.images.as_ref());
        let scans = attar_data::scan(&images, cache.as_ref(), &tick);
        let bad = bad_images(&parts, &scans, pipeline);
        if !bad.is_empty() {
            let all: usize = parts.iter().map(|part| part.images.len()).sum();
            let root = section.source.root();
            return Err(fail("data.source", refusal(&bad, all, root)));
        }
        let read_from_cache = scans.iter().map(|scan| scan.read_from_cache).sum();
        let made = scans.iter().map(|scan| scan.images.len()).sum::<usize>() - read_from_cache;
        let [first, second] = parts;
        let hashed = |part: Part, scan: Option<&Scan>| -> Result<Arc<dyn Dataset>> {
            let Some(scan) = scan else { return Ok(part.images) };
            Ok(Arc::new(Hashed::new(part.images, scan)?))
        };
        let images = [hashed(first, scans.first())?, hashed(second, scans.get(1))?];
        Ok((images, Hashes { read_from_cache, made }))
    }
}

/// Those that cannot be decoded, and those that come out in another size than most.
fn bad_images(parts: &[Part; 2], scans: &[Scan], pipeline: &Pipeline) -> Vec<Finding> {
    let how = &pipeline.preprocessing;
    let sizes: Vec<Vec<std::result::Result<[usize; 2], String>>> = scans
        .iter()
        .map(|scan| {
            let size = |seen: &std::result::Result<attar_data::Seen, String>| {
                let seen = seen.as_ref().map_err(Clone::clone)?;
                comes_out(how, seen.height, seen.width).map_err(|error| error.problem())
            };
            scan.images.iter().map(size).collect()
        })
        .collect();
    let evaluated = || parts.iter().zip(&sizes).flat_map(|(part, sizes)| part.evaluated.iter().zip(sizes));
    let mut counts = BTreeMap::new();
    let counted = evaluated().filter(|(evaluated, _)| **evaluated).filter_map(|(_, size)| size.as_ref().ok());
    counted.for_each(|size| *counts.entry(*size).or_insert(0_usize) += 1);
    let usual = counts.iter().max_by_key(|(_, count)| **count).map(|(size, _)| *size);
    let mut bad = Vec::new();
    for (part, sizes) in parts.iter().zip(&sizes) {
        for (index, (evaluated, size)) in part.evaluated.iter().zip(sizes).enumerate() {
            let problem = match (size, usual) {
                (Err(problem), _) => problem.clone(),
                (Ok([height, width]), Some([h, w])) if *evaluated && [*height, *width] != [h, w] => {
                    format!("comes out as {width}x{height}, most as {w}x{h}")
                }
                _ => continue,
            };
            bad.push(Finding { name: part.images.name(index), problem });
        }
    }
    bad
}

fn refusal(bad: &[Finding], all: usize, root: &Path) -> String {
    let odd = bad.iter().any(|found| found.problem.starts_with("comes out as"));
    let hint = match odd {
        true => {
            "set `resize` and `crop` in `data.preprocessing` so that all images get one size, or mend these".to_owned()
        }
        false => format!("mend them or move them away; `attar data check image-folder:{}` lists all", root.display()),
    };
    format!("{} of {all} images cannot be used:{}\n  hint: {hint}", bad.len(), Finding::list(bad))
}

/// Class names that the card or the exporter would refuse at the end, and names that stand for two classes.
pub(super) fn check_names(classes: &[String]) -> Result<()> {
    let mut seen = BTreeMap::new();
    let mut problems = Vec::new();
    for (label, name) in classes.iter().enumerate() {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            problems.push(format!("{name:?} (label {label}) is not one line of text"));
        }
        if let Some(other) = seen.insert(composed(name), label) {
            problems.push(format!("{name:?} is the name of label {other} and of label {label}"));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let shown = problems.iter().take(20).map(|problem| format!("\n  {problem}")).collect::<String>();
    let problem = format!("{} of {} class names cannot be used:{shown}", problems.len(), classes.len());
    Err(fail("data.source", problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_could_write_down_are_refused_at_once() {
        let names = |text: &[&str]| text.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        check_names(&names(&["T-shirt/top", "caf\u{e9}", "1"])).unwrap();
        let error = check_names(&names(&["a", "", "b\nc", "caf\u{e9}", "cafe\u{301}"])).unwrap_err().to_string();
        let said = ["data.source: 3 of 5", "\"\" (label 1)", "\"b\\nc\" (label 2)", "label 3 and of label 4"];
        assert!(said.iter().all(|part| error.contains(part)), "{error}");
    }
}
