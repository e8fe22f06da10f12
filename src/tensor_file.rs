//! Named f32 tensors with a JSON description in one safetensors file: what checkpoints and model files are.
//!
//! Layout: the safetensors format (8-byte header length, JSON header, tensors), with one metadata key `brainage` that
//! holds the description. One key, because several would be written in no fixed order; so equal contents give equal
//! files, byte for byte. Files are written whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use brainage_pipelines::atomic::write_atomically;
use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::models::parameters::NamedTensors;

const METADATA_KEY: &str = "brainage";

/// Why a file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorFileError {
    /// The file system answered so.
    #[error("cannot be read or written ({0})")]
    Io(#[from] std::io::Error),
    /// Not the format, or cut, or of another program.
    #[error("not a tensor file of brainage, or damaged ({0})")]
    Format(String),
}

/// Writes tensors and their description.
pub(crate) fn write<D: Serialize>(
    path: &Path,
    description: &D,
    tensors: &NamedTensors,
) -> Result<(), TensorFileError> {
    let description = serde_json::to_string(description)
        .map_err(|error| TensorFileError::Format(error.to_string()))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), description)]);
    let mut views = Vec::with_capacity(tensors.len());
    for (name, data) in tensors {
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
        views.push((
            name.as_str(),
            view.map_err(|error| TensorFileError::Format(error.to_string()))?,
        ));
    }
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| TensorFileError::Format(error.to_string()))?;
    write_atomically(path, |out| out.write_all(&bytes))?;
    Ok(())
}

/// Reads the description alone.
pub(crate) fn read<D: DeserializeOwned>(path: &Path) -> Result<(D, NamedTensors), TensorFileError> {
    let bytes = fs_err::read(path)?;
    let format = |error: &dyn std::fmt::Display| TensorFileError::Format(error.to_string());
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(&e))?;
    let description = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(METADATA_KEY))
        .ok_or_else(|| TensorFileError::Format(format!("no metadata key `{METADATA_KEY}`")))?;
    let description = serde_json::from_str(description).map_err(|e| format(&e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format(&e))?;
    let mut tensors = NamedTensors::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(TensorFileError::Format(format!(
                "tensor `{name}` is not f32"
            )));
        }
        let values: Vec<f32> = view
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        tensors.insert(
            name.to_owned(),
            TensorData::new(values, view.shape().to_vec()),
        );
    }
    Ok((description, tensors))
}

/// BLAKE3 of names, shapes and values, in the order of the names.
pub(crate) fn hash(tensors: &NamedTensors) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (name, data) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
        for side in data.shape().iter() {
            hasher.update(&(*side as u64).to_le_bytes());
        }
        hasher.update(data.as_bytes());
    }
    hasher.finalize()
}
