//! Colors of overlays: maps whose lightness grows evenly, so that no step is seen where there is none.
//!
//! Viridis, inferno, magma (Smith and van der Walt 2015, CC0), cividis (Nuñez, Anderton and Renslow 2018, CC0) and the
//! diverging cool–warm map (Moreland 2009), each by ten or so of its points with straight lines between.

use eframe::egui::Color32;
use serde::{Deserialize, Serialize};

/// A color for every share from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColorMap {
    /// Black over purple and orange to pale yellow.
    #[default]
    Inferno,
    /// Black over purple to pale rose.
    Magma,
    /// Purple over green to yellow.
    Viridis,
    /// Blue to yellow; the same to eyes that do not tell red from green.
    Cividis,
    /// Blue over white to red, for what may lie on either side of a middle.
    CoolWarm,
    /// Black to white.
    Gray,
}

const INFERNO: [u32; 10] = [
    0x00_0004, 0x1b_0c41, 0x4a_0c6b, 0x78_1c6d, 0xa5_2c60, 0xcf_4446, 0xed_6925, 0xfb_9b06,
    0xf7_d13d, 0xfc_ffa4,
];
const MAGMA: [u32; 10] = [
    0x00_0004, 0x18_0f3d, 0x44_0f76, 0x72_1f81, 0x9e_2f7f, 0xcd_4071, 0xf1_605d, 0xfd_9668,
    0xfe_ca8d, 0xfc_fdbf,
];
const VIRIDIS: [u32; 10] = [
    0x44_0154, 0x48_2878, 0x3e_4989, 0x31_688e, 0x26_828e, 0x1f_9e89, 0x35_b779, 0x6e_ce58,
    0xb5_de2b, 0xfd_e725,
];
const CIVIDIS: [u32; 10] = [
    0x00_224e, 0x12_3570, 0x3b_496c, 0x57_5d6d, 0x70_7173, 0x8a_8678, 0xa5_9c74, 0xc3_b369,
    0xe1_cc55, 0xfe_e838,
];
const COOL_WARM: [u32; 7] = [
    0x3b_4cc0, 0x7b_9ff9, 0xc0_d4f5, 0xdd_dcdc, 0xf2_cab5, 0xee_8468, 0xb4_0426,
];
const GRAY: [u32; 2] = [0x00_0000, 0xff_ffff];

impl ColorMap {
    /// Those that go from little to much.
    pub(crate) const SEQUENTIAL: [Self; 5] = [
        Self::Inferno,
        Self::Magma,
        Self::Viridis,
        Self::Cividis,
        Self::Gray,
    ];

    /// As the menu says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inferno => "Inferno",
            Self::Magma => "Magma",
            Self::Viridis => "Viridis",
            Self::Cividis => "Cividis",
            Self::CoolWarm => "Cool–warm",
            Self::Gray => "Gray",
        }
    }

    /// The color of a share; below 0 and above 1, that of the end.
    pub(crate) fn color(self, share: f32) -> [u8; 3] {
        let points: &[u32] = match self {
            Self::Inferno => &INFERNO,
            Self::Magma => &MAGMA,
            Self::Viridis => &VIRIDIS,
            Self::Cividis => &CIVIDIS,
            Self::CoolWarm => &COOL_WARM,
            Self::Gray => &GRAY,
        };
        let last = points.len() - 1;
        let at = share.clamp(0.0, 1.0) * last as f32;
        let low = (at as usize).min(last);
        let high = (low + 1).min(last);
        let rest = at - low as f32;
        [16u32, 8, 0].map(|shift| {
            let channel = |point: u32| (point >> shift & 0xff) as f32;
            (channel(points[low]) * (1.0 - rest) + channel(points[high]) * rest + 0.5) as u8
        })
    }

    /// As egui takes it.
    pub(crate) fn color32(self, share: f32) -> Color32 {
        let [r, g, b] = self.color(share);
        Color32::from_rgb(r, g, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CIE 1976 L* of an sRGB color: how light it looks, 0 to 100.
    fn lightness(color: [u8; 3]) -> f64 {
        let linear = color.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        let y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        if y > 0.008_856 {
            116.0 * y.cbrt() - 16.0
        } else {
            903.3 * y
        }
    }

    #[test]
    fn maps_from_little_to_much_grow_lighter_all_the_way() {
        for map in ColorMap::SEQUENTIAL {
            let all: Vec<f64> = (0..=100u8)
                .map(|i| lightness(map.color(f32::from(i) / 100.0)))
                .collect();
            // Channels are whole numbers: a step back by rounding is below 0.6 of L*.
            assert!(
                all.windows(2).all(|pair| pair[1] > pair[0] - 0.6),
                "{}",
                map.name()
            );
            assert!(all[100] - all[0] > 60.0, "{}", map.name());
        }
    }

    #[test]
    fn the_diverging_map_is_lightest_in_the_middle() {
        let of = |share| lightness(ColorMap::CoolWarm.color(share));
        assert!(of(0.5) > of(0.1) + 20.0 && of(0.5) > of(0.9) + 20.0);
        assert_eq!(ColorMap::Gray.color(9.0), [255; 3]);
    }
}
