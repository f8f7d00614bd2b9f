//! Our PxL script library, embedded, and how a script with a `vis.json` is called.
//!
//! ```text
//! library/px/<name>/<name>.pxl       the script
//! library/px/<name>/manifest.json    what it is for
//! library/px/<name>/vis.json         its arguments and the functions to call
//! ```

mod library;
mod vis;

pub use library::{Script, get, list, names};
pub use vis::{Call, Error, GlobalFunc, Variable, Vis};
