//! The architecture of both networks: a residual encoder, a decoder that adds the encoder's maps (LinkNet in three
//! dimensions, Chaurasia and Culurciello 2017).
//!
//! Every convolution but the last is followed by instance normalization, which takes away whatever constant was added
//! before it: the biases that the file has for two of them are not read.

use super::layers::Maps;
use super::weights::{Kernels, Weights};

/// One network.
#[derive(Debug)]
pub(super) struct LinkNet {
    first: Kernels,
    encoder: [[Residual; 2]; 4],
    decoder: [Upward; 4],
    widen: Kernels,
    smooth: Kernels,
    /// From eight maps to how much more a voxel is brain than not.
    last: Kernels,
    last_bias: f32,
}

/// Two convolutions with a way around them.
#[derive(Debug)]
struct Residual {
    convolutions: [Kernels; 2],
    /// The way around, where channels or sides change.
    around: Option<Kernels>,
    stride: usize,
}

/// A transposed convolution between two that change the number of channels.
#[derive(Debug)]
struct Upward {
    narrow: Kernels,
    spread: Kernels,
    wide: Kernels,
    stride: usize,
}

/// Channels and stride of the encoder's parts; the first comes after 16 channels.
const ENCODER: [(usize, usize); 4] = [(16, 1), (32, 2), (64, 2), (128, 2)];
/// Channels that come in, within, and go out, and stride, of the decoder's parts.
const DECODER: [(usize, usize, usize, usize); 4] = [
    (128, 32, 64, 2),
    (64, 16, 32, 2),
    (32, 8, 16, 2),
    (16, 4, 16, 1),
];

impl LinkNet {
    /// The network whose weights have this prefix; fails with the weights that are missing or have another shape.
    pub(super) fn new(weights: &Weights<'_>, prefix: &str) -> Result<Self, String> {
        let kernels = |name: &str, channels, side| {
            weights.kernels(&format!("{prefix}.{name}"), channels, side)
        };
        let residual = |name: &str, [channels_in, channels]: [usize; 2], stride| {
            let around = (channels_in != channels)
                .then(|| kernels(&format!("{name}.downsample.0"), [channels, channels_in], 1));
            Ok::<_, String>(Residual {
                convolutions: [
                    kernels(&format!("{name}.double_conv.0"), [channels, channels_in], 3)?,
                    kernels(&format!("{name}.double_conv.3"), [channels, channels], 3)?,
                ],
                around: around.transpose()?,
                stride,
            })
        };
        let down = |part: usize| {
            let (channels, stride) = ENCODER[part];
            let channels_in = part
                .checked_sub(1)
                .map_or(ENCODER[0].0, |before| ENCODER[before].0);
            Ok::<_, String>([
                residual(
                    &format!("down{part}.block1"),
                    [channels_in, channels],
                    stride,
                )?,
                residual(&format!("down{part}.block2"), [channels; 2], 1)?,
            ])
        };
        let up = |part: usize| {
            let (channels_in, within, channels, stride) = DECODER[part];
            Ok::<_, String>(Upward {
                narrow: kernels(&format!("up{part}.conv1.0"), [within, channels_in], 1)?,
                spread: kernels(&format!("up{part}.tp_conv.0"), [within; 2], 3)?,
                wide: kernels(&format!("up{part}.conv2.0"), [channels, within], 1)?,
                stride,
            })
        };
        let bias = weights.bias(&format!("{prefix}.tp_conv2"), 2)?;
        Ok(Self {
            first: kernels("init.0", [16, 1], 7)?,
            encoder: [down(0)?, down(1)?, down(2)?, down(3)?],
            decoder: [up(0)?, up(1)?, up(2)?, up(3)?],
            widen: kernels("tp_conv1.0", [16, 8], 3)?,
            smooth: kernels("conv.0", [8, 8], 3)?,
            last: second_less_first(&kernels("tp_conv2", [8, 2], 2)?),
            last_bias: bias[1] - bias[0],
        })
    }

    /// Which voxels of a cube with sides of `side` voxels, a multiple of 32, are what the network looks for.
    ///
    /// Of two classes the more probable one: where the second map is above the first, softmax gives it more than one half.
    pub(super) fn inside(&self, seen: Vec<f32>, side: usize) -> Vec<bool> {
        let input = Maps {
            numbers: seen,
            channels: 1,
            side,
        };
        let start = input.convolved(&self.first, 2).rectified_and_pooled();
        drop(input);
        self.decided(&start)
    }

    fn decided(&self, start: &Maps) -> Vec<bool> {
        let [down0, down1, down2, down3] = &self.encoder;
        let [up0, up1, up2, up3] = &self.decoder;
        let through = |parts: &[Residual; 2], maps: &Maps| parts[1].run(&parts[0].run(maps));
        let at_0 = through(down0, start);
        let at_1 = through(down1, &at_0);
        let at_2 = through(down2, &at_1);
        let maps = up0.run(&through(down3, &at_2)).plus(&at_2);
        let maps = up1.run(&maps).plus(&at_1);
        let maps = up2.run(&maps).plus(&at_0);
        let maps = up3.run(&maps).plus(start);
        drop((at_0, at_1, at_2));
        let maps = maps.spread(&self.widen, 2).rectified();
        let maps = maps.convolved(&self.smooth, 1).rectified();
        let difference = maps.spread(&self.last, 2);
        difference
            .numbers
            .iter()
            .map(|number| number + self.last_bias > 0.0)
            .collect()
    }
}

impl Residual {
    fn run(&self, maps: &Maps) -> Maps {
        let [first, second] = &self.convolutions;
        let inner = maps.convolved(first, self.stride).rectified();
        let inner = inner.convolved(second, 1);
        match &self.around {
            Some(kernels) => inner.joined(&maps.convolved(kernels, self.stride).normalized()),
            None => inner.joined(maps),
        }
    }
}

impl Upward {
    fn run(&self, maps: &Maps) -> Maps {
        let maps = maps.convolved(&self.narrow, 1).rectified();
        let maps = maps.spread(&self.spread, self.stride).rectified();
        maps.convolved(&self.wide, 1).rectified()
    }
}

/// From kernels `[in, 2, ..]` of a transposed convolution, those of the difference of its two maps.
fn second_less_first(kernels: &Kernels) -> Kernels {
    let n_taps = kernels.side.pow(3);
    let differences = kernels.numbers.chunks_exact(2 * n_taps).flat_map(|both| {
        let (first, second) = both.split_at(n_taps);
        second
            .iter()
            .zip(first)
            .map(|(second, first)| second - first)
    });
    Kernels {
        numbers: differences.collect(),
        channels: [kernels.channels[0], 1],
        side: kernels.side,
    }
}
