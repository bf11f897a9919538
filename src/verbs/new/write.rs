//! The recipe as text: every line under the reason for it.

use std::path::Path;

use attar_data::Source;
use attar_data::measure::Levels;
use attar_models::zoo::Entry;
use attar_pixels::Preprocessing;

use super::choice::{self, Pace, Size};
use super::images::{Found, Images};
use super::method::Method;
use super::teacher::Teacher;

/// What was chosen.
pub(super) struct Chosen<'a> {
    pub(super) name: &'a str,
    pub(super) command: String,
    pub(super) images: &'a Images,
    pub(super) network: &'a Entry,
    pub(super) width: Option<f64>,
    pub(super) channels: usize,
    pub(super) size: &'a Size,
    pub(super) levels: &'a Levels,
    /// Where the levels are from, for a comment.
    pub(super) levels_why: String,
    /// `from = ...` and its reason.
    pub(super) start: Option<(String, String)>,
    pub(super) teacher: Option<&'a Teacher>,
    pub(super) pace: &'a Pace,
    pub(super) method: &'a Method,
}

impl Chosen<'_> {
    /// The recipe.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![self.head(), self.data(), self.preprocessing(), self.student()];
        parts.extend(self.teacher.map(|teacher| {
            format!("# {}.\n[[teachers]]\nname = \"teacher\"\n{}\n", capital(&teacher.what), teacher.from)
        }));
        parts.extend([self.train(), format!("{}\n{}\n", self.method.comment, self.method.tables)]);
        if self.held_out() == "0.0" {
            parts.push("# Nothing is held out, so nothing can be chosen: the last epoch is what leaves.\n[export]\nweights = \"last\"\n".to_owned());
        }
        parts.join("\n")
    }

    fn head(&self) -> String {
        let verb = if self.method.taught || self.method.name != "alone" { "distill" } else { "train" };
        format!(
            "# Made by: {}\n# Try it: attar {verb} THIS_FILE --dry-run; then without --dry-run. Relative paths are taken from the folder of this file.\n\
             name = {}\n# The same seed gives the same weights, to the bit.\nseed = 0\n# A GPU where this build and machine have one, else the CPU.\ndevice = \"auto\"\n",
            self.command,
            toml_string(self.name)
        )
    }

    fn data(&self) -> String {
        let found = &self.images.found;
        let mut lines = vec![format!(
            "# {} images of {} classes to learn from, {} to test.",
            thousands(found.train),
            found.classes.len(),
            thousands(found.test)
        )];
        lines.extend(balance(found).into_iter().map(|line| format!("# {line}")));
        lines.extend(["[data]".to_owned(), format!("source = {}", source(&self.images.source))]);
        let (_, why) = choice::validation(found.train);
        match self.images.validation {
            Some(folder) => lines.push(format!(
                "# The folder {folder}/ chooses the epoch that is exported; the test images are asked once, at the end."
            )),
            None => lines.push(format!("# The share held out: {why}.")),
        }
        lines.push(format!("validation = {}", self.held_out()));
        lines.push("# Of a training image another look each epoch:".to_owned());
        lines.push("augment = [".to_owned());
        for (what, why) in self.augment() {
            lines.push(format!("    # {why}.\n    {what},"));
        }
        lines.push("]\n".to_owned());
        lines.join("\n")
    }

    /// What `validation` says.
    fn held_out(&self) -> String {
        match self.images.validation {
            Some(folder) => format!("{{ folder = \"{folder}\" }}"),
            None => format!("{:?}", choice::validation(self.images.found.train).0),
        }
    }

    /// Augmentations with their reasons.
    fn augment(&self) -> Vec<(String, String)> {
        let [height, width] = self.size.input;
        let mut list = Vec::new();
        if self.size.small {
            let padding = (height.min(width) / 8).max(1);
            let why = "Moved by up to an eighth of the edge: usual for small images".to_owned();
            list.push((format!("{{ kind = \"pad-crop\", padding = {padding}, fill = \"zero\" }}"), why));
        } else if height == width {
            let (least, why) = choice::least_shown(self.images.found.train);
            list.push((
                format!("{{ kind = \"random-resized-crop\", size = {height}, scale = [{least}, 1.0] }}"),
                capital(why),
            ));
        }
        if !self.images.found.are_signs() {
            let why = "Mirrored half the time; take it out where left and right mean something (letters, arrows)";
            list.push(("{ kind = \"flip\" }".to_owned(), why.to_owned()));
        }
        list
    }

    fn preprocessing(&self) -> String {
        let found = &self.images.found;
        let sizes = match found.size {
            Some([height, width]) => format!("all are {height}x{width} pixels (height x width)"),
            None => format!(
                "edges of {} to {} pixels, the shorter one of half of them at most {}",
                found.edges[0], found.edges[1], found.shorter_edge
            ),
        };
        let [height, width] = self.size.input;
        let of_levels = |values: &[f64]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(", ");
        let mut lines = vec![
            format!(
                "# How pixels become the network's input; the exported model does it in the same way. Of {} images looked at (seed 0)",
                thousands(found.looked_at)
            ),
            format!("# {sizes}."),
            "[data.preprocessing]".to_owned(),
        ];
        let colours = match (self.channels, found.channels) {
            (1, _) => "# Grey, as all of them are.",
            (_, 1) => {
                "# Grey images, repeated in three channels because the network that was trained before has three."
            }
            _ => "# Red, green and blue; grey images are repeated.",
        };
        lines.extend([colours.to_owned(), format!("channels = {}", self.channels)]);
        match self.size.resize {
            Some(edge) => {
                lines.push(format!("# The input is {height}x{width}: {}.", self.size.why));
                lines.push(format!(
                    "resize = {{ to = {{ shorter-edge = {edge} }}, interpolation = \"bilinear\" }}\n# The centre, so that the shape of a picture is kept.\ncrop = [{height}, {width}]"
                ));
            }
            None => lines.push(format!("# No resize: {height}x{width} is {}.", self.size.why)),
        }
        lines.push(format!("# {}.", self.levels_why));
        lines.push(format!("mean = [{}]", of_levels(&self.levels.mean)));
        lines.push(format!("std = [{}]\n", of_levels(&self.levels.std)));
        lines.join("\n")
    }

    fn student(&self) -> String {
        let mut lines = vec![
            format!("# {}. Classes and input size follow from the data.", self.network.about),
            "[student]".to_owned(),
        ];
        let mut options = String::new();
        if let Some(width) = self.width {
            options += &format!(", width = {width:?}");
        }
        if self.size.wants_stem(self.network) {
            lines
                .push("# First layers for small images: those for ImageNet's would shrink them to nothing.".to_owned());
            options += ", stem = \"cifar\"";
        }
        lines.push(format!("network = {{ name = \"{}\"{options} }}", self.network.name));
        match &self.start {
            Some((from, why)) => lines.push(format!("# {why}.\n{from}")),
            None => lines.push(
                "# From random weights; `from = { kind = \"weights\", path = \"FILE\" }` starts from trained ones."
                    .to_owned(),
            ),
        }
        lines.join("\n") + "\n"
    }

    fn train(&self) -> String {
        let pace = self.pace;
        let rate = significant(pace.rate);
        let schedule = match pace.warm_up {
            0.0 => format!("{{ at = [[0.0, {rate}], [1.0, 0.0]], join = \"cosine\", unit = \"fraction\" }}"),
            share => format!(
                "{{ at = [[0.0, {}], [{share}, {rate}], [1.0, 0.0]], join = [\"linear\", \"cosine\"], unit = \"fraction\" }}",
                significant(pace.rate / 10.0)
            ),
        };
        let shape =
            if pace.warm_up > 0.0 { "a short rise, then half a cosine down to 0" } else { "half a cosine down to 0" };
        format!(
            "[train]\n# {}.\nepochs = {}\n# {}.\nbatch = {}\n# {}; {shape}.\nlearning_rate = {schedule}\n\
             # Stochastic gradient descent as usual for this kind of network.\n\
             optimiser = {{ kind = \"sgd\", momentum = 0.9, nesterov = {}, weight_decay = {:?} }}\n",
            capital(&pace.epochs_why),
            pace.epochs,
            capital(pace.batch_why),
            pace.batch,
            capital(pace.rate_why),
            pace.nesterov,
            pace.decay
        )
    }
}

/// How even the classes are.
fn balance(found: &Found) -> Vec<String> {
    let counts = found.classes.iter().map(|(_, count)| *count);
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    let mut lines = vec![match least == most {
        true => format!("{} of each class.", thousands(most)),
        false => format!("{} to {} a class.", thousands(least), thousands(most)),
    }];
    if found.imbalance() > 3.0 {
        let ends = |wanted: usize| {
            found.classes.iter().find(|(_, count)| *count == wanted).map(|(name, _)| name.escape_debug().to_string())
        };
        lines.push(format!(
            "IMBALANCED: `{}` has {least}, `{}` has {most}. Accuracy over all images hides the rare classes: look at the table of classes",
            ends(least).unwrap_or_default(),
            ends(most).unwrap_or_default()
        ));
        lines.push("in the report, and see docs/recipes.md for weights of classes and a balanced sampler.".to_owned());
    }
    lines
}

/// A source as a recipe writes it.
fn source(source: &Source) -> String {
    toml::Value::try_from(source).map(|value| value.to_string()).unwrap_or_default()
}

/// A preprocessing as an inline table, with the digits that were given.
pub(super) fn inline(how: &Preprocessing) -> String {
    let levels = |values: &[f32]| values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ");
    let mut parts = vec![format!("channels = {}", how.channels)];
    if let Some(resize) = how.resize {
        parts.push(format!("resize = {}", toml::Value::try_from(resize).map(|v| v.to_string()).unwrap_or_default()));
    }
    parts.extend(how.crop.map(|[height, width]| format!("crop = [{height}, {width}]")));
    parts.push(format!("mean = [{}]", levels(&how.mean)));
    parts.push(format!("std = [{}]", levels(&how.std)));
    format!("{{ {} }}", parts.join(", "))
}

/// A path as TOML writes it.
pub(super) fn quoted(path: &Path) -> String {
    toml_string(&path.to_string_lossy())
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Three digits, without zeros at the end.
fn significant(value: f64) -> String {
    let digits = (2 - value.abs().log10().floor() as i32).max(1) as usize;
    let text = format!("{value:.digits$}");
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

/// `1234567` as `1,234,567`.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([thousands(7), thousands(1234), thousands(1_281_167)], ["7", "1,234", "1,281,167"]);
        assert_eq!(
            [0.025, 0.1, 0.00625, 1.0, 0.0234375].map(significant),
            ["0.025", "0.1", "0.00625", "1.0", "0.0234"]
        );
        assert_eq!(capital("as asked"), "As asked");
    }

    #[test]
    fn a_preprocessing_reads_back_with_its_own_digits() {
        let text = "{ channels = 1, resize = { to = { shorter-edge = 7 }, interpolation = \"bicubic\" }, crop = [5, 6], mean = [0.485], std = [0.229] }";
        let table: toml::Table = format!("it = {text}").parse().unwrap();
        let how: Preprocessing = table["it"].clone().try_into().unwrap();
        assert!(inline(&how).contains("mean = [0.485], std = [0.229]"), "{}", inline(&how));
        let again: toml::Table = format!("it = {}", inline(&how)).parse().unwrap();
        assert_eq!(again["it"].clone().try_into::<Preprocessing>().unwrap(), how);
    }
}
