//! How a teacher sees the student's images: the same batch, the batch normalised anew, or the same crop in its own size.

use attar_data::Pipeline;
use attar_pixels::{Preprocessing, preprocessed_size};
use candle_core::Tensor;

use super::data::PlannedData;

/// From the student's images to a teacher's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TeacherInput {
    /// The student's batch as it is.
    Same,
    /// The student's batch, normalised as the teacher's card says.
    Renormalised(Renormalise),
    /// Batches of its own: the same crops under the same draws, made by its own preprocessing.
    Own(Own),
}

/// What a teacher that has batches of its own takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Own {
    /// Its preprocessing.
    pub(crate) preprocessing: Preprocessing,
    /// Height and width of its input.
    size: [usize; 2],
}

/// What a preprocessing makes of the images of `data`, `[C, H, W]`.
pub(super) fn made_by(own: &Preprocessing, data: &PlannedData) -> crate::Result<[usize; 3]> {
    let image = data.pool.image(0)?;
    let [height, width] = preprocessed_size(own, image.height(), image.width());
    Ok([own.channels, height, width])
}

impl TeacherInput {
    /// How a teacher that takes `input` (`[C, H, W]`) by its own preprocessing sees the images of `data`; the problem in words
    /// where it cannot.
    pub(super) fn find(data: &PlannedData, own: &Preprocessing, input: &[usize]) -> std::result::Result<Self, String> {
        let student = &data.pipeline.preprocessing;
        let made = made_by(own, data).map_err(|error| error.to_string())?;
        let [_, own_height, own_width] = made;
        if made != *input {
            return Err(format!(
                "takes {input:?}, and its preprocessing makes {made:?} of these images\n  hint: only its own `resize` and `crop` can say how it sees them; with `kind = \"weights\"` the recipe may state `preprocessing`"
            ));
        }
        if made == data.input && (student.resize, student.crop) == (own.resize, own.crop) {
            return Ok(Renormalise::between(student, own).map_or(Self::Same, Self::Renormalised));
        }
        let [_, height, width] = data.input;
        if height * own_width != width * own_height {
            return Err(format!(
                "takes images of {own_height}x{own_width}, the student of {height}x{width}: the same crop would come to it squeezed\n  hint: choose an input of the teacher's shape in `data.preprocessing` (and `data.augment`)"
            ));
        }
        Ok(Self::Own(Own { preprocessing: own.clone(), size: [own_height, own_width] }))
    }

    /// What it takes, where it has batches of its own.
    pub(crate) fn own(&self) -> Option<&Own> {
        match self {
            Self::Own(own) => Some(own),
            Self::Same | Self::Renormalised(_) => None,
        }
    }

    /// How its batches are made where the student's are made by `plain`.
    pub(crate) fn pipeline(&self, plain: &Pipeline) -> Pipeline {
        match self {
            Self::Own(Own { preprocessing, size }) => plain.followed_by(preprocessing.clone(), *size),
            Self::Same | Self::Renormalised(_) => plain.clone(),
        }
    }

    /// A batch of [`TeacherInput::pipeline`], `[N, C, H, W]`, as the teacher takes it.
    pub(crate) fn apply(&self, batch: &Tensor) -> crate::Result<Tensor> {
        match self {
            Self::Renormalised(how) => how.apply(batch),
            Self::Same | Self::Own(_) => Ok(batch.clone()),
        }
    }
}

/// `x * scale + shift` a channel: undoes one normalisation and applies another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Renormalise {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Renormalise {
    /// `None` when both normalise alike.
    fn between(student: &Preprocessing, teacher: &Preprocessing) -> Option<Self> {
        if student.mean == teacher.mean && student.std == teacher.std {
            return None;
        }
        let pairs = || student.std.iter().zip(&teacher.std);
        let scale = pairs().map(|(s, t)| s / t).collect();
        let means = student.mean.iter().zip(&teacher.mean);
        let shift = means.zip(&teacher.std).map(|((s, t), std)| (s - t) / std).collect();
        Some(Self { scale, shift })
    }

    /// The batch `[N, C, H, W]` as the teacher wants it.
    fn apply(&self, input: &Tensor) -> crate::Result<Tensor> {
        let channels = |values: &[f32]| Tensor::from_slice(values, (1, values.len(), 1, 1), input.device());
        Ok(input.broadcast_mul(&channels(&self.scale)?)?.broadcast_add(&channels(&self.shift)?)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_batch_normalised_for_the_student_becomes_the_teachers() {
        let student = Preprocessing::normalise(vec![0.5, 0.4, 0.3], vec![0.2, 0.25, 0.5]);
        let teacher = Preprocessing::normalise(vec![0.1, 0.2, 0.3], vec![1.0, 0.5, 0.25]);
        let pixel = 0.7f32;
        let seen = |p: &Preprocessing| -> Vec<f32> { (0..3).map(|c| (pixel - p.mean[c]) / p.std[c]).collect() };
        let batch = Tensor::from_vec(seen(&student), (1, 3, 1, 1), &Device::Cpu).unwrap();
        let how = Renormalise::between(&student, &teacher).unwrap();
        let got: Vec<f32> = how.apply(&batch).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (got, expected) in got.iter().zip(seen(&teacher)) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
        assert_eq!(Renormalise::between(&student, &student), None);
    }
}
