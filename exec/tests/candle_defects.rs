//! What Candle 0.11 gets wrong, or does not have, and why this room owns it. Each test states
//! today's behaviour: when one fails after an upgrade, upstream has fixed it and the workaround may
//! go.

use candle_core::{Device, Result, Tensor, Var};

fn ramp(shape: &[usize]) -> Result<Var> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Gradient of the sum of `y` with respect to `x`.
fn slopes(y: &Tensor, x: &Var) -> Result<Option<Vec<f32>>> {
    let grads = y.sum_all()?.backward()?;
    grads.get(x).map(|grad| grad.flatten_all()?.to_vec1()).transpose()
}

fn total(y: &Tensor, x: &Var) -> Result<f32> {
    Ok(slopes(y, x)?.map(|slopes| slopes.iter().sum()).unwrap_or(f32::NAN))
}

#[test]
fn max_pool_divides_its_gradient_by_the_window() -> Result<()> {
    let x = ramp(&[1, 1, 4, 4])?;
    let right = 4.0; // one maximum in each of four windows
    assert_eq!(total(&x.max_pool2d(2)?, &x)?, right / 4.0);
    Ok(())
}

#[test]
fn avg_pool_of_an_odd_size_has_a_wrong_gradient() -> Result<()> {
    let x = ramp(&[1, 1, 5, 5])?;
    let y = x.avg_pool2d(2)?;
    assert_eq!(y.dims(), [1, 1, 2, 2]);
    // Right: 0.25 in the upper left 4x4 that windows see, 0 in the last row and column.
    // Candle stretches the four gradients over all 25.
    assert_eq!(slopes(&y, &x)?, Some(vec![0.25; 25]), "upstream fixed it");
    Ok(())
}

#[test]
fn nearest_upsampling_overwrites_the_gradient_of_another_reader() -> Result<()> {
    // Each of 4 values is read by 4 pixels and once more: 20. Candle keeps what came from the
    // pixels alone.
    let lost = 4.0 * 4.0;
    let wrong = |swap: bool| -> Result<bool> {
        let x = ramp(&[1, 1, 2, 2])?;
        let (up, direct) = (x.upsample_nearest2d(4, 4)?.sum_all()?, x.sum_all()?);
        let y = if swap { (direct + up)? } else { (up + direct)? };
        Ok(total(&y, &x)? == lost)
    };
    assert!(wrong(false)? || wrong(true)?, "upstream fixed it");
    Ok(())
}

#[test]
fn conv_backward_fails_on_some_inputs_that_are_not_square() -> Result<()> {
    let (x, weight) = (ramp(&[1, 3, 8, 7])?, ramp(&[4, 3, 3, 3])?);
    let y = x.conv2d(&weight, 1, 2, 1, 1)?;
    assert_eq!(y.dims(), [1, 4, 4, 4]);
    assert!(y.sum_all()?.backward().is_err(), "upstream fixed it");
    Ok(())
}

#[test]
fn relu_has_slope_one_at_zero() -> Result<()> {
    let x = Var::new(&[0f32], &Device::Cpu)?;
    assert_eq!(slopes(&x.relu()?, &x)?, Some(vec![1.0])); // PyTorch: 0
    Ok(())
}

#[test]
fn there_is_no_seed_on_the_cpu() {
    assert!(Device::Cpu.set_seed(1).is_err(), "upstream added it");
}
