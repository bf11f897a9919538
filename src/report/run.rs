//! `report.html` of a run: headline numbers, curves, who is taken for whom, and the verdict once there is one.

use std::path::Path;

use anyhow::{Context, Result};
use attar_distill::run::Receipt;
use attar_formats::files;
use attar_formats::metrics::Metrics;
use attar_formats::run::file;
use attar_infer::Certificate;
use attar_infer::bundle::Predictions;
use attar_infer::report::{certificate_section, html};
use maud::{Markup, PreEscaped, html};

use super::chart::{self, Series, line_chart};
use super::{Images, classes, confusion, measures};
use crate::table::si;

/// What a report shows beside the run itself.
#[derive(Debug)]
pub struct Extras<'a> {
    /// The certificate of the run's export.
    pub certificate: Option<&'a Certificate>,
    /// A section that compares the run with others.
    pub comparison: Option<Markup>,
    /// Whether images of the data may be shown.
    pub images: Images,
}

/// Writes `report.html` into the run directory from the files that lie there.
///
/// # Errors
/// When one of them cannot be read, or the report cannot be written.
pub fn write(run: &Path, extras: &Extras<'_>) -> Result<()> {
    let receipt = read_receipt(run)?;
    let metrics = Metrics::read(&run.join(file::METRICS))?;
    let recipe = files::read_text(&run.join(file::RECIPE), files::MOST_TEXT).context(file::RECIPE)?;
    let body = html! {
        style { (PreEscaped(chart::CSS)) (PreEscaped(confusion::CSS)) }
        (headline(&receipt))
        (measures::section(&receipt))
        @if let Some(comparison) = &extras.comparison { (comparison) }
        @if let Some(certificate) = extras.certificate {
            (certificate_section(certificate, extras.images == Images::Shown))
        }
        (curves(&metrics))
        (confusions(run)?)
        details { summary { "The resolved recipe" } pre { (recipe) } }
    };
    let page = html::page(&format!("Run {}", receipt.name), &body);
    let path = run.join(file::REPORT);
    std::fs::write(&path, page).with_context(|| path.display().to_string())
}

/// `receipt.json` of a run.
///
/// # Errors
/// When it cannot be read.
pub fn read_receipt(run: &Path) -> Result<Receipt> {
    Ok(Receipt::read(&run.join(file::RECEIPT))?)
}

fn headline(receipt: &Receipt) -> Markup {
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2} %"));
    let mut rows = vec![
        vec!["network".to_owned(), receipt.network.name.clone()],
        vec!["parameters, MACs".to_owned(), format!("{}, {}", si(receipt.parameters as f64), si(receipt.macs as f64))],
        vec![
            "images (train, validation, test)".to_owned(),
            format!("{}, {}, {}", receipt.data.sizes.train, receipt.data.sizes.validation, receipt.data.sizes.test),
        ],
        vec!["validation accuracy, last epoch".to_owned(), percent(receipt.val_top1_last)],
        vec![format!("validation accuracy, best epoch ({})", receipt.best_epoch), percent(receipt.val_top1_best)],
        vec!["test accuracy, last epoch".to_owned(), percent(Some(receipt.test_top1_last))],
        vec!["test accuracy, best epoch by validation".to_owned(), percent(Some(receipt.test_top1_best))],
    ];
    if let Some(best) = receipt.test_top1_best_on_test {
        rows.push(vec![
            "test accuracy, best epoch by test (for comparison with papers only)".to_owned(),
            percent(Some(best)),
        ]);
    }
    for teacher in &receipt.teachers {
        rows.push(vec![
            format!("teacher {} ({}), validation", teacher.name, teacher.network),
            percent(teacher.val_top1),
        ]);
    }
    rows.push(vec![
        "seed, device, threads".to_owned(),
        format!("{}, {}, {}", receipt.seed, receipt.device, receipt.threads),
    ]);
    rows.push(vec!["time".to_owned(), format!("{:.0} s", receipt.wall_seconds)]);
    html::table(&["", ""], &rows)
}

fn curves(metrics: &Metrics) -> Markup {
    let line =
        |name: &str, column: &str| Series { name: name.to_owned(), points: metrics.over_epochs(column), steps: false };
    let held =
        |name: &str, column: &str| Series { name: name.to_owned(), points: metrics.over_epochs(column), steps: true };
    let losses: Vec<Series> = metrics.losses.iter().map(|name| line(name, &format!("loss.{name}"))).collect();
    let weights: Vec<Series> = metrics.losses.iter().map(|name| held(name, &format!("weight.{name}"))).collect();
    let charts = [
        line_chart("Accuracy, %", "epoch", &[line("train (augmented)", "train_top1"), line("validation", "val_top1")]),
        line_chart(
            "Loss",
            "epoch",
            &[line("train (weighted sum)", "train_loss"), line("validation (cross-entropy)", "val_loss")],
        ),
        line_chart("Each loss, unweighted", "epoch", &losses),
        line_chart("Weight of each loss", "epoch", &weights),
        line_chart("Learning rate", "epoch", &[held("learning rate", "lr")]),
    ];
    html! { h2 { "Over the epochs" } div class="charts" { @for chart in &charts { (chart) } } }
}

fn confusions(run: &Path) -> Result<Markup> {
    let card = run.join(file::CARD);
    let text = files::read_text(&card, files::MOST_TEXT).with_context(|| card.display().to_string())?;
    let card = attar_formats::Card::from_json(&text, &card)?;
    let predictions = Predictions::read(&attar_formats::run::predictions(run))?;
    Ok(html! {
        (classes::section(&predictions, &card.labels))
        (confusion::table(&predictions, &card.labels))
    })
}
