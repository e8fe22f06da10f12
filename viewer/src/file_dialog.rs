//! The system's dialog for opening files, on a thread of its own because it blocks.

use std::path::PathBuf;
use std::sync::mpsc;

use eframe::egui;

/// A dialog that is open.
pub(crate) struct FileDialog {
    chosen: mpsc::Receiver<Vec<PathBuf>>,
}

impl FileDialog {
    /// Opens it; wakes `ctx` when it has been closed.
    ///
    /// # Errors
    /// What the system answered where no thread can be had.
    pub(crate) fn open(ctx: &egui::Context) -> std::io::Result<Self> {
        let (sender, chosen) = mpsc::sync_channel(1);
        let ctx = ctx.clone();
        std::thread::Builder::new()
            .name("file-dialog".into())
            .spawn(move || {
                let dialog = rfd::FileDialog::new()
                    .set_title("Open scans")
                    .add_filter("NIfTI scans", &["nii", "gz", "hdr", "img"]);
                // A send fails only where the viewer is gone.
                sender.send(dialog.pick_files().unwrap_or_default()).ok();
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
