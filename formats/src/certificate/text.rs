//! A certificate for a terminal.

use std::fmt::{self, Display, Formatter};

use super::{
    Certificate, Cpu, Flip, GoldenNumbers, IntegerReference, LeftOut, Paired, ReferenceFacts, Robustness, Runtime,
    SummaryRow,
};

impl Display for Certificate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "parity of {} ({} classes)", self.bundle.network, self.bundle.classes)?;
        if let Some(reference) = &self.reference {
            write_reference(f, reference)?;
        }
        match &self.data {
            Some(data) => {
                let (images, paired) = (data.images, data.paired);
                let share = 100.0 * paired as f64 / images.max(1) as f64;
                match &self.reference {
                    // Integers alone are held to their definition.
                    None if data.reference_test == 0 && paired == 0 && !self.integers.is_empty() => {
                        writeln!(f, "images: {images}")?;
                    }
                    Some(_) => {
                        writeln!(f, "images: {images}, of which the reference answered {paired} ({share:.1} %)")?;
                    }
                    None => writeln!(
                        f,
                        "images: {images}, of which {paired} ({share:.1} %) are known to the reference ({} test, {} validation)",
                        data.paired_test, data.paired_validation
                    )?,
                }
                for note in &data.notes {
                    writeln!(f, "note: {note}")?;
                }
                write_left_out(f, &data.left_out)?;
                if data.repeated > 0 {
                    writeln!(f, "{} more are copies of these and count once", data.repeated)?;
                }
            }
            None => writeln!(f, "images: none given; without labelled images only numbers are compared")?,
        }
        self.integers.iter().try_for_each(|one| write_integers(f, one, self.cpu.as_ref()))?;
        self.runtimes.iter().try_for_each(|runtime| write_runtime(f, runtime, self))?;
        for skipped in &self.skipped {
            writeln!(f, "\n{}: not used, {}", skipped.engine, skipped.reason.lines().next().unwrap_or_default())?;
        }
        let rows: Vec<Vec<String>> = self.summary().iter().map(|row| row.cells().into()).collect();
        if !rows.is_empty() {
            writeln!(f)?;
            write_table(f, &SummaryRow::HEAD, &rows, 2)?;
        }
        self.robustness.iter().try_for_each(|robustness| write_robustness(f, robustness))?;
        if let Some(cpu) = &self.cpu {
            writeln!(f, "\non {cpu}")?;
        }
        write!(f, "\nverdict at a margin of {} points: {}", self.margin_points, self.verdict)
    }
}

fn write_reference(f: &mut Formatter<'_>, reference: &ReferenceFacts) -> fmt::Result {
    let ReferenceFacts { file, file_sha256, precision, engine, version, answers, notes, .. } = reference;
    writeln!(f, "reference: {file} ({precision}, sha256 {file_sha256:.12}...) in {engine} {version}")?;
    if !answers.are_logits() {
        writeln!(f, "  gives {answers}")?;
    }
    notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
}

fn write_runtime(f: &mut Formatter<'_>, runtime: &Runtime, certificate: &Certificate) -> fmt::Result {
    let Runtime { engine, version, file, precision, .. } = runtime;
    writeln!(f, "\n{engine} {version}, {file} ({precision}, sha256 {:.12}...)", runtime.file_sha256)?;
    if !runtime.answers.are_logits() {
        writeln!(f, "  gives {}", runtime.answers)?;
    }
    if let Some(goldens) = &runtime.goldens {
        write_goldens(f, goldens)?;
    }
    if let Some(reason) = &runtime.not_held {
        writeln!(f, "  its integers are not held to their definition: {}", reason.lines().next().unwrap_or_default())?;
    }
    if let Some(held) = &runtime.implementation {
        writeln!(f, "  implementation: {}", held.found())?;
        for flip in held.flipped.iter().take(MOST_FLIPS) {
            write_flip(f, flip)?;
        }
        writeln!(f, "  implementation: {}", held.said())?;
    }
    let judged = certificate.reference_of(runtime).is_some_and(|reference| reference.compression.is_some());
    match &runtime.paired {
        // Its compression was told with the integer reference.
        Some(paired) if judged => writeln!(f, "  both together: {}", accuracy(paired))?,
        Some(paired) => write_paired(f, paired)?,
        None => {}
    }
    if let (Some(accuracy), Some(data)) = (runtime.accuracy_all, &certificate.data)
        && data.paired != data.images
    {
        writeln!(f, "  accuracy on all {} images: {accuracy:.2} %", data.images)?;
    }
    match &runtime.reason {
        Some(reason) => writeln!(f, "  verdict: {}: {reason}", runtime.verdict),
        None => writeln!(f, "  verdict: {}", runtime.verdict),
    }
}

/// Cells under their heads, each column as wide as its widest cell: the first so many to the left, the rest to the right.
fn write_table(f: &mut Formatter<'_>, head: &[&str], rows: &[Vec<String>], left: usize) -> fmt::Result {
    let width = |(column, head): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.fold(head.chars().count(), usize::max)
    };
    let widths: Vec<usize> = head.iter().enumerate().map(width).collect();
    let line = |cells: &[&str]| {
        let pad = |(at, (cell, width)): (usize, (&&str, &usize))| match at < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        };
        cells.iter().zip(&widths).enumerate().map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    writeln!(f, "{}", line(head))?;
    rows.iter().try_for_each(|row| writeln!(f, "{}", line(&row.iter().map(String::as_str).collect::<Vec<_>>())))
}

fn write_robustness(f: &mut Formatter<'_>, robustness: &Robustness) -> fmt::Result {
    let star = if robustness.baseline.is_some() { " (* where its 95 % interval leaves out 0)" } else { "" };
    writeln!(f, "\n{}{star}", robustness.title())?;
    let rows =
        robustness.rows(|paired| format!("{:+.2}{}", paired.difference, if paired.differs() { "*" } else { " " }));
    write_table(f, &robustness.head().iter().map(String::as_str).collect::<Vec<_>>(), &rows, 1)
}

/// Left out images that fit a terminal.
const MOST_LEFT_OUT: usize = 20;

fn write_left_out(f: &mut Formatter<'_>, left_out: &[LeftOut]) -> fmt::Result {
    if left_out.is_empty() {
        return Ok(());
    }
    writeln!(f, "left out, because they cannot be read: {} images", left_out.len())?;
    for one in left_out.iter().take(MOST_LEFT_OUT) {
        writeln!(f, "  {}: {}", one.name, one.problem)?;
    }
    match left_out.len() > MOST_LEFT_OUT {
        true => writeln!(f, "  and {} more", left_out.len() - MOST_LEFT_OUT),
        false => Ok(()),
    }
}

fn write_goldens(f: &mut Formatter<'_>, goldens: &GoldenNumbers) -> fmt::Result {
    let rounding = match (goldens.within_rounding, goldens.tolerance) {
        (true, _) => "rounding",
        (false, Some(_)) => "MORE THAN ROUNDING",
        (false, None) => "not judged at this precision",
    };
    writeln!(
        f,
        "  goldens: {} {} images, largest logit difference {:.2e} = {:.1e} of their standard deviation ({rounding}), from the \
         files {:.2e}, preprocessing {:.2e}, {} flipped",
        goldens.count,
        goldens.kind,
        goldens.logit_max_diff,
        goldens.share_of_spread(),
        goldens.logit_max_diff_from_files,
        goldens.input_max_diff,
        goldens.flips
    )
}

fn write_paired(f: &mut Formatter<'_>, paired: &Paired) -> fmt::Result {
    let Paired { images, logits, worst_class, .. } = paired;
    writeln!(f, "  top-1 agreement: {} of {images} ({:.3} %)", images - paired.flips, paired.agreement)?;
    writeln!(f, "  accuracy: {}", accuracy(paired))?;
    writeln!(
        f,
        "  worst class: {} ({} images), {:.1} % -> {:.1} %",
        worst_class.class, worst_class.images, worst_class.reference_accuracy, worst_class.runtime_accuracy
    )?;
    writeln!(
        f,
        "  logits: largest difference {:.2e}{}; decision margins from {:.2e}, median {:.2}; {} images within reach of rounding",
        logits.max_diff,
        if logits.all_compared { "" } else { " (of the five largest)" },
        logits.smallest_margin,
        logits.median_margin,
        logits.within_reach
    )?;
    let or_none = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let brier = paired.brier_score.map(|of| format!(", Brier: {} -> {:.4}", or_none(of.reference), of.runtime));
    let brier = brier.unwrap_or_default();
    writeln!(
        f,
        "  ECE: {} -> {:.4}, NLL: {} -> {:.4}{brier}, McNemar p {:.3}",
        or_none(paired.calibration_error.reference),
        paired.calibration_error.runtime,
        or_none(paired.negative_log_likelihood.reference),
        paired.negative_log_likelihood.runtime,
        paired.mcnemar_p
    )?;
    for flip in paired.flipped.iter().take(MOST_FLIPS) {
        write_flip(f, flip)?;
    }
    if paired.flips > MOST_FLIPS {
        writeln!(f, "  and {} more", paired.flips - MOST_FLIPS)?;
    }
    Ok(())
}

fn accuracy(paired: &Paired) -> String {
    let Paired { reference_accuracy, runtime_accuracy, difference, interval, gained, lost, .. } = paired;
    format!(
        "reference {reference_accuracy:.2} %, here {runtime_accuracy:.2} %, difference {difference:+.3} points [{:+.3}, {:+.3}] \
         ({gained} gained, {lost} lost)",
        interval.low, interval.high
    )
}

fn write_flip(f: &mut Formatter<'_>, flip: &Flip) -> fmt::Result {
    let Flip { name, label, reference, runtime, reference_margin, runtime_margin, .. } = flip;
    writeln!(
        f,
        "  flipped: {name} (label {label}): {reference} -> {runtime}, margin {reference_margin:.2e} -> {runtime_margin:.2e}"
    )
}

fn write_integers(f: &mut Formatter<'_>, of: &IntegerReference, cpu: Option<&Cpu>) -> fmt::Result {
    let IntegerReference { file, file_sha256, arithmetic, compression, .. } = of;
    writeln!(f, "\nintegers of {file} (sha256 {file_sha256:.12}...) by arithmetic {arithmetic}")?;
    writeln!(f, "  {}", of.answered())?;
    if let Some(beyond) = &of.beyond_16_bits {
        writeln!(f, "  {}", beyond.kept_on(cpu))?;
    }
    let Some(compression) = compression else { return Ok(()) };
    if let Some(goldens) = &compression.goldens {
        write_goldens(f, goldens)?;
    }
    if let Some(paired) = &compression.paired {
        write_paired(f, paired)?;
    }
    writeln!(f, "  compression: {}", compression.verdict)
}

/// Flipped images that fit a terminal.
const MOST_FLIPS: usize = 5;
