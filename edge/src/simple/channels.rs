//! What looks at all channels of a pixel, or has numbers for each of them: layer norms, softmax, slopes, tables.

use super::functions::exp;

/// Constants of a layer norm.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation<'a> {
    /// `f32 [channels]`, little endian at any alignment: what each channel is multiplied by.
    pub weights: &'a [u8],
    /// The same of what is added to it.
    pub bias: &'a [u8],
    /// Added to the variance.
    pub eps: f32,
}

/// Numbers that are added at once: vectors of every level divide it.
const LANES: usize = 16;

/// `LANES` floats.
///
/// # Safety
/// They lie at `at`, of whatever alignment.
#[inline(always)]
unsafe fn lanes(at: *const f32) -> [f32; LANES] {
    // SAFETY: the caller's word.
    unsafe { at.cast::<[f32; LANES]>().read_unaligned() }
}

/// The first `count` floats, fewer than `LANES`, and `rest` behind them.
///
/// # Safety
/// `count` floats, of whatever alignment, lie at `at`.
#[inline(always)]
unsafe fn some(at: *const f32, count: usize, rest: f32) -> [f32; LANES] {
    let mut values = [rest; LANES];
    // SAFETY: the caller's word.
    unsafe { core::ptr::copy_nonoverlapping(at.cast::<u8>(), values.as_mut_ptr().cast(), 4 * count) };
    values
}

/// All of some numbers taken together, `LANES` of them at once; `take` changes nothing for `none`. The last ones are read
/// together with some before them, which do not count again.
///
/// # Safety
/// `length` floats lie at `a`.
#[inline(always)]
unsafe fn folded(
    a: *const f32,
    length: usize,
    (begin, none): (f32, f32),
    take: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut kept = [begin; LANES];
    let mut take_all = |x: [f32; LANES]| kept.iter_mut().zip(x).for_each(|(kept, x)| *kept = take(*kept, x));
    let whole = length / LANES * LANES;
    // SAFETY: the caller's word.
    unsafe {
        if length < LANES {
            take_all(some(a, length, none));
        } else {
            for at in (0..whole).step_by(LANES) {
                take_all(lanes(a.add(at)));
            }
            if whole < length {
                let mut x = lanes(a.add(length - LANES));
                let again = (LANES - (length - whole)) as u32;
                for (lane, x) in (0..LANES as u32).zip(&mut x) {
                    *x = if lane < again { none } else { *x };
                }
                take_all(x);
            }
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            kept[lane] = join(kept[lane], kept[lane + half]);
        }
        half /= 2;
    }
    kept[0]
}

/// `out[i] = f(a[i], x[i], y[i])` of floats and constants. The last ones are computed together with some before them, which
/// come to the same again.
///
/// # Safety
/// `length` floats lie at `a`, and there is room for them at `out`, which shares no memory with it; the constants have as
/// many, little endian as this CPU is.
#[inline(always)]
unsafe fn with_constants(
    a: *const f32,
    (x, y): (&[u8], &[u8]),
    out: *mut f32,
    length: usize,
    f: impl Fn(f32, f32, f32) -> f32,
) {
    let (x, y) = (x.as_ptr().cast::<f32>(), y.as_ptr().cast::<f32>());
    let all = |a: [f32; LANES], x: [f32; LANES], y: [f32; LANES]| {
        let mut made = [0.0; LANES];
        for lane in 0..LANES {
            made[lane] = f(a[lane], x[lane], y[lane]);
        }
        made
    };
    // SAFETY: the caller's word; pointers to constants have no alignment, and are read so.
    unsafe {
        if length < LANES {
            let made = all(some(a, length, 0.0), some(x, length, 0.0), some(y, length, 0.0));
            core::ptr::copy_nonoverlapping(made.as_ptr(), out, length);
            return;
        }
        let mut at = 0;
        while at < length {
            let from = at.min(length - LANES);
            let place = |of: *const f32| of.cast::<u8>().add(4 * from).cast::<f32>();
            let made = all(lanes(a.add(from)), lanes(place(x)), lanes(place(y)));
            out.add(from).cast::<[f32; LANES]>().write_unaligned(made);
            at += LANES;
        }
    }
}

/// `1 / sqrt(x)` within `1e-10` of itself, for a `core` without roots: Newton's method from an exponent that is halved. Of what
/// is no positive number it is any.
#[inline(always)]
pub(crate) fn root(x: f64) -> f64 {
    let mut y = f64::from_bits(0x5fe6_eb50_c7b5_37a9_u64.wrapping_sub(x.to_bits() >> 1));
    for _ in 0..3 {
        y *= 1.5 - 0.5 * x * y * y;
    }
    y
}

/// # Safety
/// As of `Simple::normalise`.
#[inline(always)]
pub(crate) unsafe fn normalise(a: *const f32, out: *mut f32, pixels: usize, channels: usize, how: &Normalisation<'_>) {
    let count = channels as f32;
    for pixel in 0..pixels {
        let at = pixel * channels;
        // SAFETY: the caller gives `pixels * channels` elements of each, and `channels` constants of each.
        unsafe {
            let a = a.add(at);
            let add = |sum: f32, x: f32| sum + x;
            let mean = folded(a, channels, (0.0, 0.0), add, add) / count;
            let square = |sum: f32, x: f32| sum + (x - mean) * (x - mean);
            let variance = folded(a, channels, (0.0, mean), square, add) / count;
            let factor = root(f64::from(variance) + f64::from(how.eps)) as f32;
            let normed = |x: f32, weight: f32, bias: f32| (x - mean) * factor * weight + bias;
            with_constants(a, (how.weights, how.bias), out.add(at), channels, normed);
        }
    }
}

/// # Safety
/// As of `Simple::softmax`.
#[inline(always)]
pub(crate) unsafe fn softmax(a: *const f32, out: *mut f32, pixels: usize, channels: usize) {
    for pixel in 0..pixels {
        let at = pixel * channels;
        // SAFETY: the caller gives `pixels * channels` elements of each.
        unsafe {
            let (a, out) = (a.add(at), out.add(at));
            let larger = |kept: f32, x: f32| if x > kept { x } else { kept };
            let most = folded(a, channels, (f32::NEG_INFINITY, f32::NEG_INFINITY), larger, larger);
            super::each(a, out, channels, |x: f32| exp(x - most));
            let add = |sum: f32, x: f32| sum + x;
            let share = 1.0 / folded(out, channels, (0.0, 0.0), add, add);
            super::each(out, out, channels, |x: f32| x * share);
        }
    }
}

/// # Safety
/// As of `Simple::slopes`.
#[inline(always)]
pub(crate) unsafe fn slopes(a: *const f32, out: *mut f32, pixels: usize, channels: usize, slopes: &[u8]) {
    for pixel in 0..pixels {
        let at = pixel * channels;
        let sloped = |x: f32, slope: f32, _: f32| {
            let below = slope * x;
            if x > 0.0 { x } else { below }
        };
        // SAFETY: the caller gives `pixels * channels` elements of each, and `channels` slopes.
        unsafe { with_constants(a.add(at), (slopes, slopes), out.add(at), channels, sloped) };
    }
}

/// `out[p][c] = tables[c][a[p][c]]`, of which there are as many as channels.
///
/// # Safety
/// `pixels * channels` bytes lie at `a`, and there is room for them at `out`, which is `a` or shares no memory with it.
pub(crate) unsafe fn tables(a: *const u8, out: *mut u8, pixels: usize, channels: usize, tables: &[u8]) {
    let tables = tables.as_chunks::<256>().0;
    for pixel in 0..pixels {
        for (channel, table) in tables.iter().enumerate().take(channels) {
            let at = pixel * channels + channel;
            // SAFETY: the caller's word.
            unsafe { *out.add(at) = table[usize::from(*a.add(at))] };
        }
    }
}
