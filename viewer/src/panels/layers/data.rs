//! Why layers are missing.

use crate::image::scene::Scene;

/// What is said where layers are missing; `None` where all are there that preprocessing can give.
pub(crate) fn why_missing(scene: Option<&Scene>) -> Option<&'static str> {
    let scene = scene?;
    if scene.template.is_none() {
        return Some("Mask, template and bias field are known after preprocessing.");
    }
    scene
        .bias_field
        .is_none()
        .then_some("The bias field is not kept in the cache: preprocess to see it.")
}
