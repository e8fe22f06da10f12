//! brainage
