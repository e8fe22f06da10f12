//! The system's dialogs for files, on a thread of their own because they block.

use std::path::PathBuf;
use std::sync::mpsc;

use eframe::egui;

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choose {
    /// Scans or tables.
    Files,
    /// A folder of scans, a run or a cache.
    Folder,
}

/// A dialog that is open.
pub(crate) struct FileDialog {
    chosen: mpsc::Receiver<Vec<PathBuf>>,
}

impl FileDialog {
    /// Opens it; wakes `ctx` when it has been closed.
    ///
    /// # Errors
    /// What the system answered where no thread can be had.
    pub(crate) fn open(ctx: &egui::Context, choose: Choose) -> std::io::Result<Self> {
        let (sender, chosen) = mpsc::sync_channel(1);
        let ctx = ctx.clone();
        std::thread::Builder::new()
            .name("file-dialog".into())
            .spawn(move || {
                let dialog = rfd::FileDialog::new();
                let paths = match choose {
                    Choose::Files => dialog
                        .set_title("Open scans or a table of predictions")
                        .add_filter(
                            "Scans, cache entries, tables",
                            &["nii", "gz", "hdr", "img", "mgz", "mgh", "vol", "csv"],
                        )
                        .pick_files()
                        .unwrap_or_default(),
                    Choose::Folder => dialog
                        .set_title("Open a folder of scans, a run or a cache")
                        .pick_folders()
                        .unwrap_or_default(),
                };
                // A send fails only where the viewer is gone.
                sender.send(paths).ok();
                ctx.request_repaint();
            })?;
        Ok(Self { chosen })
    }

    /// What was chosen, once the dialog is closed; nothing where it was canceled or there is none.
    pub(crate) fn poll(&self) -> Option<Vec<PathBuf>> {
        match self.chosen.try_recv() {
            Ok(paths) => Some(paths),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Vec::new()),
        }
    }
}
