//! A certificate as HTML.

mod summary;

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::html::{png, soft, table};
use crate::parity::{
    Allowed, Certificate, Flip, Implementation, IntegerReference, LeftOut, Paired, ReferenceFacts, Runtime, Verdict,
};

/// The certificate as a section of a page: verdict, numbers a runtime, flipped images (`images`: with their pixels, where
/// the certificate has them; otherwise by name).
pub fn certificate_section(certificate: &Certificate, images: bool) -> Markup {
    let runtimes = &certificate.runtimes;
    let files: BTreeSet<_> = runtimes.iter().map(|r| (&r.file, &r.file_sha256)).collect();
    html! {
        section {
            h2 { "Parity" }
            p { (badge(certificate.verdict)) " at a margin of " (certificate.margin_points) " points of accuracy." }
            @if let Some(reference) = &certificate.reference {
                (soft(&format!("Reference: {}.", reference_text(reference))))
                @for note in &reference.notes { (soft(&format!("Note: {note}."))) }
            }
            @match &certificate.data {
                Some(data) => {
                    (soft(&match &certificate.reference {
                        // Integers alone are held to their definition.
                        None if data.reference_test == 0 && data.paired == 0 && !certificate.integers.is_empty() => {
                            format!("{} labelled images.", data.images)
                        }
                        Some(_) => format!("{} labelled images; the reference answered {} of them.", data.images, data.paired),
                        None => format!(
                            "{} labelled images; the reference knows {} of them ({} test, {} validation).",
                            data.images, data.paired, data.paired_test, data.paired_validation
                        ),
                    }))
                    @for note in &data.notes { (soft(&format!("Note: {note}."))) }
                    (left_out(&data.left_out))
                }
                None => (soft("No labelled images were given: numbers were compared, decisions were not.")),
            }
            @for runtime in runtimes {
                @if let Some(reason) = &runtime.reason { (soft(&format!("{} is worse: {reason}.", runtime.name()))) }
                @if !runtime.answers.are_logits() { (soft(&format!("{} gives {}.", runtime.file, runtime.answers))) }
            }
            (summary::section(certificate))
            @if !certificate.integers.is_empty() { (integers(certificate)) }
            @for runtime in runtimes {
                @if let Some(why) = &runtime.not_held {
                    (soft(&format!("The integers of {} are not held to their definition: {why}", runtime.name())))
                }
            }
            @if decided(certificate).next().is_some() { (decisions(certificate)) }
            @if runtimes.iter().any(|r| r.goldens.is_some()) { (goldens(runtimes)) }
            @for runtime in runtimes {
                @if let Some(paired) = runtime.paired.as_ref().filter(|paired| paired.flips > 0) {
                    (flips(&runtime.name(), paired.flips, &paired.flipped, images))
                }
                @if let Some(held) = runtime.implementation.as_ref().filter(|held| held.flips > 0) {
                    (flips(&format!("{} from its integers", runtime.name()), held.flips, &held.flipped, images))
                }
            }
            @for one in &certificate.integers {
                @if let Some(paired) = one.compression.as_ref().and_then(|of| of.paired.as_ref()).filter(|of| of.flips > 0) {
                    (flips(&integers_of(one), paired.flips, &paired.flipped, images))
                }
            }
            @if let Some(cpu) = &certificate.cpu { (soft(&format!("On {cpu}."))) }
            @for (file, sha256) in files { (soft(&format!("{file} has sha256 {sha256}"))) }
            @for skipped in &certificate.skipped {
                (soft(&format!("{} was not used: {}", skipped.engine, skipped.reason.lines().next().unwrap_or_default())))
            }
        }
    }
}

/// Which file answered, in which runtime.
pub(super) fn reference_text(reference: &ReferenceFacts) -> String {
    let ReferenceFacts { file, file_sha256, precision, engine, version, answers, .. } = reference;
    let gives = if answers.are_logits() { String::new() } else { format!("; it gives {answers}") };
    format!("{file} ({precision}, sha256 {file_sha256}) in {engine} {version}{gives}")
}

fn left_out(left_out: &[LeftOut]) -> Markup {
    let rows: Vec<_> = left_out.iter().map(|one| vec![one.name.clone(), one.problem.clone()]).collect();
    html! {
        @if !left_out.is_empty() {
            details {
                summary { "Left out: " (left_out.len()) " images that cannot be read" }
                (table(&["image", "why"], &rows))
            }
        }
    }
}

/// A verdict as a coloured badge.
fn badge(verdict: Verdict) -> Markup {
    let class = match verdict {
        Verdict::Equivalent => "good",
        Verdict::Worse => "bad",
        Verdict::Inconclusive { .. } | Verdict::NumbersOnly => "open",
    };
    html! { span class={ "verdict " (class) } { (verdict) } }
}

/// What 8-bit files are held to, and how each of their runtimes holds.
fn integers(certificate: &Certificate) -> Markup {
    let held = certificate.runtimes.iter().filter_map(|runtime| Some((runtime, runtime.implementation.as_ref()?)));
    let row = |(runtime, held): (&Runtime, &Implementation)| {
        vec![
            runtime.name(),
            held.verdict.word().to_owned(),
            match held.allowed {
                Allowed::Bytes => "the same bytes".to_owned(),
                Allowed::Quanta { most } => format!("{most} quanta, few flips"),
                Allowed::Decisions => "few flips".to_owned(),
            },
            format!("{} {}", held.images, held.of),
            format!("{}", held.equal),
            format!("{:.1e}", held.max_diff),
            held.max_quanta.map_or("-".to_owned(), |quanta| format!("{quanta:.2}")),
            format!("{}", held.flips),
            format!("[{:.3}, {:.3}]", held.flip_share.low, held.flip_share.high),
        ]
    };
    let rows: Vec<_> = held.map(row).collect();
    let head = [
        "runtime",
        "implementation",
        "allowed",
        "images",
        "same bytes",
        "max |Δ logit|",
        "in quanta",
        "flips",
        "95 % interval in percent",
    ];
    html! {
        h3 { "Implementation: runtimes held to what the file's integers are defined to give" }
        (table(&head, &rows))
        @for runtime in &certificate.runtimes {
            @if let Some(reason) = runtime.implementation.as_ref().and_then(|held| held.reason.as_ref()) {
                (soft(&format!("{} is worse: {reason}.", runtime.name())))
            }
        }
        @for one in &certificate.integers {
            (soft(&format!("{}, sha256 {}, arithmetic {}: {}.", one.file, one.file_sha256, one.arithmetic, one.answered())))
            @if let Some(beyond) = &one.beyond_16_bits {
                (soft(&format!("{}: {}.", one.file, beyond.kept_on(certificate.cpu.as_ref()))))
            }
            @if let Some(compression) = &one.compression {
                p { "Compression of " (one.file) ": " (badge(compression.verdict)) }
            }
        }
    }
}

/// An integer reference among runtimes.
fn integers_of(one: &IntegerReference) -> String {
    format!("integers of {} by arithmetic {}", one.file, one.arithmetic)
}

/// All that was compared with the reference's decisions: what it is, the verdict, the numbers.
fn decided(certificate: &Certificate) -> impl Iterator<Item = (String, Verdict, &Paired)> {
    let integers = certificate.integers.iter().filter_map(|one| {
        let compression = one.compression.as_ref()?;
        Some((integers_of(one), compression.verdict, compression.paired.as_ref()?))
    });
    let runtimes = certificate.runtimes.iter();
    integers.chain(runtimes.filter_map(|runtime| Some((runtime.name(), runtime.verdict, runtime.paired.as_ref()?))))
}

fn decisions(certificate: &Certificate) -> Markup {
    let row = |(what, verdict, p): (String, Verdict, &Paired)| {
        let or_none = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.4}"));
        vec![
            what,
            verdict.word().to_owned(),
            format!("{:.3} %", p.agreement),
            format!("{:.2} %", p.reference_accuracy),
            format!("{:.2} %", p.runtime_accuracy),
            format!("{:+.3}", p.difference),
            format!("[{:+.3}, {:+.3}]", p.interval.low, p.interval.high),
            format!("{}", p.flips),
            format!(
                "{} ({:.1} % → {:.1} %)",
                p.worst_class.class, p.worst_class.reference_accuracy, p.worst_class.runtime_accuracy
            ),
            format!("{:.1e}", p.logits.max_diff),
            format!("{:.2}", p.logits.median_margin),
            format!("{} → {:.4}", or_none(p.calibration_error.reference), p.calibration_error.runtime),
            format!("{} → {:.4}", or_none(p.negative_log_likelihood.reference), p.negative_log_likelihood.runtime),
            p.brier_score.map_or("-".to_owned(), |of| format!("{} → {:.4}", or_none(of.reference), of.runtime)),
            format!("{:.3}", p.mcnemar_p),
        ]
    };
    let rows: Vec<_> = decided(certificate).map(row).collect();
    let head = [
        "runtime",
        "verdict",
        "agreement",
        "reference",
        "here",
        "difference",
        "95 % interval",
        "flips",
        "worst class",
        "max |Δ logit|",
        "median margin",
        "ECE",
        "NLL",
        "Brier",
        "McNemar p",
    ];
    html! { h3 { "Decisions" } (table(&head, &rows)) }
}

fn goldens(runtimes: &[Runtime]) -> Markup {
    let rows: Vec<_> = runtimes
        .iter()
        .filter_map(|r| Some((r, r.goldens.as_ref()?)))
        .map(|(r, g)| {
            vec![
                r.name(),
                format!("{} {}", g.count, g.kind),
                format!("{:.2e}", g.logit_max_diff),
                format!("{:.1e}", g.share_of_spread()),
                format!("{:.2e}", g.logit_max_diff_from_files),
                format!("{:.2e}", g.input_max_diff),
                format!("{}", g.flips),
                match (g.within_rounding, g.tolerance) {
                    (true, _) => "rounding",
                    (false, Some(_)) => "more than rounding",
                    (false, None) => "not judged",
                }
                .to_owned(),
            ]
        })
        .collect();
    let head =
        ["runtime", "goldens", "max |Δ logit|", "in their sd", "from the files", "preprocessing", "flips", "that is"];
    html! { h3 { "Numbers" } (table(&head, &rows)) }
}

fn flips(by: &str, count: usize, flipped: &[Flip], images: bool) -> Markup {
    html! {
        h3 { "Flipped by " (by) ": " (count) " images" }
        div class="grid" {
            @for flip in flipped {
                figure {
                    @if let Some(bytes) = flip.png.as_ref().filter(|_| images) { (png(bytes, &flip.name)) }
                    figcaption {
                        (flip.name) br;
                        "is " (flip.label) br;
                        (flip.reference) " → " (flip.runtime) br;
                        span class="soft" {
                            (format!("margin {:.2e} → {:.2e}", flip.reference_margin, flip.runtime_margin))
                        }
                    }
                }
            }
        }
        @if count > flipped.len() {
            (soft(&format!("and {} more", count - flipped.len())))
        }
    }
}
