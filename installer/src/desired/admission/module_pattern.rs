//! Which modules the controller may name.

/// A regular expression (RE2) for the modules that the controller may name.
///
/// From a registry, a module of the same repository, pinned by its digest. An installation from a file
/// is for tests: it may use any file, and any pinned module. Another scheme has no digest, so there the
/// folder must be the same.
pub(crate) fn module_pattern(url: &str) -> String {
    // A class for a special character, because the chart's templates cannot write a backslash in YAML.
    let literal = |text: &str| {
        let escaped = text.chars().map(|c| match c {
            c if c.is_ascii_alphanumeric() || "/_-".contains(c) => c.to_string(),
            c if ".:~%?&=+,;".contains(c) => format!("[{c}]"),
            c => format!("\\x{{{:x}}}", u32::from(c)),
        });
        escaped.collect::<String>()
    };
    match url.split_once("://") {
        Some(("oci", rest)) => {
            let repository = rest.split_once('@').map_or(rest, |(repository, _)| repository);
            // A tag is behind the last slash; a colon before it is that of a port.
            let slash = repository.rfind('/').unwrap_or(0);
            let end = repository[slash..].find(':').map_or(repository.len(), |colon| slash + colon);
            format!("^oci://{}@sha256:[0-9a-f]{{64}}$", literal(&repository[..end]))
        }
        Some(("file", _)) => "^(file://.*|oci://[^@]+@sha256:[0-9a-f]{64})$".into(),
        _ => {
            let folder = url.rfind('/').map_or(url, |slash| &url[..=slash]);
            format!("^{}[^/]+$", literal(folder))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::module_pattern;

    #[test]
    fn a_module_is_of_the_same_repository_and_pinned() {
        let digest = "a".repeat(64);
        let pinned = |repository: &str| format!("oci://{repository}@sha256:{digest}");
        let installed = pinned("registry.test:5000/skycap/filter");
        for (installed, module, is_allowed) in [
            (installed.as_str(), installed.clone(), true),
            ("oci://registry.test:5000/skycap/filter:1", installed.clone(), true),
            (&installed, "oci://registry.test:5000/skycap/filter:1".into(), false),
            (&installed, pinned("registry.test:5000/skycap/filter2"), false),
            (&installed, pinned("registryxtest:5000/skycap/filter"), false),
            (&installed, format!("{installed}b"), false),
            ("https://a.test/m/1.wasm", "https://a.test/m/2.wasm".into(), true),
            ("https://a.test/m/1.wasm", "https://a.test/n/2.wasm".into(), false),
            ("file:///a.wasm", "file:///b.wasm".into(), true),
            ("file:///a.wasm", installed.clone(), true),
            ("file:///a.wasm", "https://a.test/m/2.wasm".into(), false),
        ] {
            let pattern = regex::Regex::new(&module_pattern(installed)).expect("a pattern");
            assert_eq!(pattern.is_match(&module), is_allowed, "{installed} {module}");
        }
    }
}
