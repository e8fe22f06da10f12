//! Slices on the graphics card, made and uploaded only when what they show has changed.

use std::time::{Duration, Instant};

use eframe::egui::{self, TextureHandle, TextureId, TextureOptions};

use crate::image::compose::{Segment, SliceParams, draw_slice};
use crate::image::sample::Interpolation;
use crate::image::scene::Scene;

/// Time that making slices may take of one frame; what is left over comes in the next.
const A_FRAMES_SHARE: Duration = Duration::from_millis(6);

/// One slice.
#[derive(Default)]
pub(crate) struct SliceTexture {
    handle: Option<TextureHandle>,
    shown: Option<(u64, SliceParams)>,
    outline: Vec<Segment>,
    /// How often a picture was handed to the graphics card.
    pub(crate) n_uploads: usize,
}

/// How long slices may be made in this frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    /// As long as it takes: for pictures and tests.
    Unlimited,
    /// Until then.
    Until(Instant),
}

/// All slices of the window.
#[derive(Default)]
pub(crate) struct Textures {
    /// Those of the three planes, before and after preprocessing.
    pub(crate) planes: [[SliceTexture; 2]; 3],
    /// Those of the mosaic, before and after preprocessing.
    pub(crate) mosaic: Vec<[SliceTexture; 2]>,
}

impl Budget {
    /// What a frame that begins now may take.
    pub(crate) fn of_frame() -> Self {
        Self::Until(Instant::now() + A_FRAMES_SHARE)
    }

    fn is_used_up(self) -> bool {
        match self {
            Self::Unlimited => false,
            Self::Until(end) => Instant::now() >= end,
        }
    }
}

impl SliceTexture {
    /// The texture of a slice. Where the time of the frame is used up, the old one stays for a frame.
    pub(crate) fn get(
        &mut self,
        ctx: &egui::Context,
        scene: &Scene,
        params: &SliceParams,
        budget: Budget,
    ) -> TextureId {
        let is_new = self.shown != Some((scene.id, *params));
        if let (Some(handle), true) = (&self.handle, !is_new || budget.is_used_up()) {
            if is_new {
                ctx.request_repaint();
            }
            return handle.id();
        }
        let options = match params.interpolation {
            Interpolation::Nearest => TextureOptions::NEAREST,
            Interpolation::Linear => TextureOptions::LINEAR,
        };
        let picture = draw_slice(scene, params);
        self.outline = picture.outline;
        self.shown = Some((scene.id, *params));
        self.n_uploads += 1;
        if let Some(handle) = &mut self.handle {
            handle.set(picture.image, options);
            return handle.id();
        }
        let handle = ctx.load_texture("slice", picture.image, options);
        let id = handle.id();
        self.handle = Some(handle);
        id
    }

    /// What the texture shows; not what was asked for where the time was used up.
    pub(crate) fn shown(&self) -> Option<&SliceParams> {
        self.shown.as_ref().map(|(_, params)| params)
    }

    /// The outline of the mask in it.
    pub(crate) fn outline(&self) -> &[Segment] {
        &self.outline
    }
}
