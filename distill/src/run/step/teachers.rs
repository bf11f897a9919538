//! The teachers at work: what each is asked, on which pixels, and what it answers.

use std::collections::BTreeMap;

use attar_exec::{Context, Outputs};
use attar_models::NodeId;
use attar_pixels::Preprocessing;
use candle_core::Tensor;

use crate::error::Result;
use crate::plan::{LossId, PlannedLoss, PlannedQuestion, PlannedTeacher, QuestionId, Table, TeacherId, TeacherInput};
use crate::plan::{ViewId, Wiring, taps_of};
use crate::run::feed::batch::ViewBatch;
use crate::teacher::{Question, Samples, Teacher};

/// A teacher at work.
pub(in crate::run) struct RunningTeacher {
    pub(in crate::run) name: String,
    pub(in crate::run) teacher: Box<dyn Teacher>,
    pub(in crate::run) input: TeacherInput,
    /// By what it can be judged; nothing where its logits are of other classes than the data's.
    pub(in crate::run) worth: Option<Worth>,
}

/// By what a teacher can be judged.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::run) struct Worth {
    /// Its own preprocessing.
    pub(in crate::run) preprocessing: Preprocessing,
    /// An accuracy of its card in percent, with its name.
    pub(in crate::run) stated: Option<(&'static str, f64)>,
    /// Least accuracy, a share.
    pub(in crate::run) at_least: Option<f64>,
}

impl Worth {
    fn of(teacher: &PlannedTeacher) -> Option<Self> {
        let stated = |name: &'static str| teacher.stated.get(name).map(|value| (name, *value));
        teacher.logits.is_ok().then(|| Self {
            preprocessing: teacher.preprocessing.clone(),
            stated: stated("test_top1").or_else(|| stated("val_top1")),
            at_least: teacher.at_least,
        })
    }
}

impl RunningTeacher {
    /// A network that sees the student's batches and is not judged.
    pub(in crate::run) fn plain(name: impl Into<String>, teacher: Box<dyn Teacher>) -> Self {
        Self { name: name.into(), teacher, input: TeacherInput::Same, worth: None }
    }

    /// Answers to a batch as it is loaded for it: the student's, or its own.
    pub(in crate::run) fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs> {
        let pixels = self.input.apply(question.pixels)?;
        self.teacher.outputs(&Question { pixels: &pixels, ..*question }, taps)
    }

    /// Gradient of something of its logits in the pixels as the student sees them, up to a positive factor a channel.
    pub(in crate::run) fn input_gradient(
        &mut self,
        input: &Tensor,
        slope: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.teacher.input_gradient(&self.input.apply(input)?, slope)
    }
}

/// All teachers.
#[derive(Default)]
pub(in crate::run) struct Teachers(pub(in crate::run) Table<TeacherId, RunningTeacher>);

impl Teachers {
    /// The teachers of a plan, each ready to be asked what the losses read of it; those that Attar runs compute in `context`.
    pub(in crate::run) fn start(
        planned: Table<TeacherId, PlannedTeacher>,
        losses: &Table<LossId, PlannedLoss>,
        context: &Context,
    ) -> Result<Self> {
        let start = |id: TeacherId, teacher: PlannedTeacher| -> Result<RunningTeacher> {
            let (name, input, worth) = (teacher.name.clone(), teacher.input.clone(), Worth::of(&teacher));
            let teacher = teacher.start(&taps_of(losses, id), context)?;
            Ok(RunningTeacher { name, teacher, input, worth })
        };
        Ok(Self(planned.try_map(start)?))
    }

    /// The answers to everything that the wiring asks.
    pub(in crate::run) fn ask(
        &mut self,
        wiring: &Wiring,
        views: &BTreeMap<ViewId, ViewBatch>,
        epoch: usize,
    ) -> Result<Table<QuestionId, Outputs>> {
        let answer = |planned: &PlannedQuestion| {
            let batch = &views[&planned.view];
            let samples = (planned.view == ViewId::CLEAN).then_some(Samples { epoch, ids: &batch.ids });
            let question = Question { pixels: batch.seen_by(planned.teacher), samples };
            self.0[planned.teacher].outputs(&question, &planned.nodes)
        };
        wiring.questions.rows().map(answer).collect()
    }
}
