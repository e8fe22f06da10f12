//! What preprocessing makes of a scan, for the layers: registration, mask, bias field, the volume a model sees.
//!
//! It comes from the cache where that has it, else it is made on a thread, and kept in the cache if there is one.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use brainage_pipelines::batch::{Batch, ScanOutcome, preprocess_scan};
use brainage_pipelines::cache::{Cache, CacheEntry, CacheKey};
use brainage_pipelines::format::{AffineSource, ReadOptions, Scan, read_t1_scan};
use brainage_pipelines::preprocess::{Stage, preprocess_watched};
use brainage_pipelines::recipe::{GridSpace, Recipe};
use brainage_pipelines::scan_layers::scan_layers;
use brainage_pipelines::template::{Template, template, template_hash};
use brainage_pipelines::{Affine, Mask, Volume};

use crate::image::window_level::Presets;
use crate::predictor::Watch;

/// Share of the work before mask and bias field are found on the scan's own voxels.
const BEFORE_LAYERS: f32 = 0.7;

/// How scans are preprocessed, and where the results are kept.
#[derive(Clone, Debug)]
pub struct Preprocessing {
    /// The steps.
    pub recipe: Recipe,
    /// Where results are looked up and kept; `None` makes them anew each time.
    pub cache: Option<Cache>,
}

impl Preprocessing {
    /// Under which key the cache has what is made of a scan; `None` without a cache. The template is not decoded for it:
    /// most scans that are looked at have no entry.
    pub(crate) fn key_of(&self, scan: &Scan) -> Option<CacheKey> {
        self.cache.as_ref()?;
        let (file_hash, template_hash) = (scan.file_hash, template_hash());
        Some(Cache::key_by_hashes(file_hash, &self.recipe, template_hash))
    }
}

/// What preprocessing made of a scan.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Scan RAS mm → MNI mm.
    pub(crate) mni_from_scan: Affine,
    /// Scan RAS mm → world of `volume`.
    pub(crate) volume_world_from_scan: Affine,
    /// What a model sees.
    pub(crate) volume: Arc<Volume>,
    /// Windows that suit it.
    pub(crate) presets: Presets,
    /// The brain on the same grid.
    pub(crate) mask: Arc<Mask>,
    /// Name of the recipe.
    pub(crate) recipe_name: String,
    /// What the scan was registered to; decoded, so that nobody waits for it later.
    pub(crate) template: &'static Template,
    /// Mask and bias field on the scan's own voxels, once they were asked for.
    pub(crate) on_scan: Option<OnScan>,
}

/// What preprocessing saw on the scan's own voxels.
#[derive(Clone, Debug)]
pub(crate) struct OnScan {
    /// The brain.
    pub(crate) mask: Arc<Mask>,
    /// By what the scan is divided.
    pub(crate) bias_field: Option<Arc<Volume>>,
}

impl Prepared {
    /// From an entry of the cache.
    ///
    /// # Errors
    /// A sentence where the entry cannot be read any more.
    pub(crate) fn of_entry(entry: &CacheEntry) -> Result<Self, String> {
        let whole = entry.preprocessed().map_err(|error| error.to_string())?;
        let recipe = Recipe::parse(&entry.header.recipe, &entry.path.display().to_string())
            .map_err(|error| error.to_string())?;
        Ok(Self {
            mni_from_scan: whole.mni_from_scan,
            volume_world_from_scan: world_from_scan(&recipe, &whole.mni_from_scan),
            presets: Presets::of(whole.volume.values()),
            volume: Arc::new(whole.volume),
            mask: Arc::new(whole.mask),
            recipe_name: recipe.name,
            template: template().map_err(|error| error.to_string())?,
            on_scan: None,
        })
    }

    /// From the cache, if that has an entry of this key.
    pub(crate) fn look_up(cache: &Cache, key: &CacheKey) -> Option<Self> {
        // What is wrong with the cache is found out, and said, when something is to be made.
        let entry = cache.get(key).ok()??;
        Self::of_entry(&entry).ok()
    }
}

fn world_from_scan(recipe: &Recipe, mni_from_scan: &Affine) -> Affine {
    match recipe.grid.space {
        GridSpace::Mni => *mni_from_scan,
        GridSpace::Scan => Affine::identity(),
    }
}

/// Preprocesses a scan and finds its mask and bias field on its own voxels.
///
/// # Errors
/// A sentence that says why the scan cannot be preprocessed.
pub(crate) fn prepare(
    path: &Path,
    preprocessing: &Preprocessing,
    watch: Watch<'_>,
) -> Result<Prepared, String> {
    let template = template().map_err(|error| error.to_string())?;
    let recipe = &preprocessing.recipe;
    let (sender, stages) = std::sync::mpsc::channel();
    let canceled = watch.canceled;
    let mut prepared = std::thread::scope(|scope| {
        let made = scope.spawn(move || {
            let after = |stage: Stage| {
                sender.send(stage).ok();
            };
            preprocessed(path, preprocessing, (&after, canceled))
        });
        watch.tell(words(None), 0.0);
        for stage in stages {
            watch.tell(words(Some(stage)), BEFORE_LAYERS * share_after(stage));
        }
        made.join()
            .unwrap_or_else(|_| Err("preprocessing stopped unexpectedly".to_owned()))
    })?;
    if watch.is_canceled() {
        return Err("preprocessing was canceled".to_owned());
    }
    watch.tell("mask and bias field", BEFORE_LAYERS);
    let scan = read_t1_scan(path).map_err(|error| error.to_string())?;
    let source: AffineSource = scan.header.affine_source;
    let place = &prepared.mni_from_scan;
    let layers = scan_layers(&scan.volume, source, place, recipe, template)
        .map_err(|error| error.to_string())?;
    prepared.on_scan = Some(OnScan {
        mask: Arc::new(layers.mask),
        bias_field: layers.bias_field.map(Arc::new),
    });
    Ok(prepared)
}

/// From the cache, or made; without a cache always made.
fn preprocessed(
    path: &Path,
    preprocessing: &Preprocessing,
    (after, canceled): (&(dyn Fn(Stage) + Sync), &AtomicBool),
) -> Result<Prepared, String> {
    let template = template().map_err(|error| error.to_string())?;
    let recipe = &preprocessing.recipe;
    let read = ReadOptions::default();
    let Some(cache) = &preprocessing.cache else {
        let mut after = |stage| {
            after(stage);
            if canceled.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let made = preprocess_watched(path, read, recipe, template, &mut after)
            .map_err(|error| error.to_string())?;
        return Ok(Prepared {
            mni_from_scan: made.mni_from_scan,
            volume_world_from_scan: world_from_scan(recipe, &made.mni_from_scan),
            presets: Presets::of(made.volume.values()),
            volume: Arc::new(made.volume),
            mask: Arc::new(made.mask),
            recipe_name: recipe.name.clone(),
            template,
            on_scan: None,
        });
    };
    let batch = Batch {
        read,
        recipe,
        template,
        cache,
        stop: canceled,
    };
    match preprocess_scan(path, &batch, after).outcome {
        ScanOutcome::Done(entry) | ScanOutcome::Cached(entry) => Prepared::of_entry(&entry),
        ScanOutcome::Refused { reason } => Err(reason),
    }
}

/// What is done after this stage.
pub fn words(after: Option<Stage>) -> &'static str {
    match after {
        None => "reading",
        Some(Stage::Read) => "registering to the template",
        Some(Stage::Register) => "quality control",
        Some(Stage::Judge) => "bias field and mask",
        Some(Stage::Prepare) => "resampling",
        Some(Stage::Resample | Stage::Normalize) => "normalizing",
    }
}

/// Which share of preprocessing is done after this stage: registration and bias field take most of it.
pub fn share_after(stage: Stage) -> f32 {
    match stage {
        Stage::Read => 0.05,
        Stage::Register => 0.55,
        Stage::Judge => 0.6,
        Stage::Prepare => 0.9,
        Stage::Resample => 0.98,
        Stage::Normalize => 1.0,
    }
}
