//! What a released build knows: the image and the module that were published with it.
//!
//! A release sets two variables while it builds the command; every other build leaves them unset, and
//! then `install` and `render` require the flags:
//!
//! | variable at build time | the default of | for example |
//! |---|---|---|
//! | `SKYCAP_RELEASE_IMAGE` | `--image` | `registry.example.com/skycap/controller:0.1.0` |
//! | `SKYCAP_RELEASE_MODULE_URL` | `--module-url` | `oci://registry.example.com/skycap/filter@sha256:…` |
//!
//! Both should be pinned by digest. The module has to be pushed before the command is built. The tests
//! expect a build without them.

/// The controller's image of this release; `None` in other builds.
pub const IMAGE: Option<&str> = non_empty(option_env!("SKYCAP_RELEASE_IMAGE"));
/// The URL of this release's module; `None` in other builds.
pub const MODULE_URL: Option<&str> = non_empty(option_env!("SKYCAP_RELEASE_MODULE_URL"));

/// A workflow sets a variable without a value to the empty string.
const fn non_empty(variable: Option<&str>) -> Option<&str> {
    match variable {
        Some(value) if !value.is_empty() => Some(value),
        _ => None,
    }
}
