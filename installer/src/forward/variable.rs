//! The names of the variables with the URLs of forwards.

use std::collections::BTreeMap;

/// The variables of each forward: `SKYCAP_URL_FRONTEND_8080` for `frontend:8080`, and for the first
/// forward of a Service also `SKYCAP_URL_FRONTEND`.
///
/// The name is the Service as it was given, in upper case, with `_` for every character that a shell's
/// variable cannot have: that of `web-api.shop` is `SKYCAP_URL_WEB_API_SHOP`.
///
/// # Errors
/// [`Clash`]: two forwards would set the same variable.
pub fn names(forwards: &[(&str, u16)]) -> Result<Vec<Vec<String>>, Clash> {
    let mut owners = BTreeMap::new();
    let mut all = Vec::new();
    for (service, port) in forwards {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let short: String = PREFIX.chars().chain(service.chars().map(upper)).collect();
        let mut names = vec![format!("{short}_{port}")];
        if !all.iter().zip(forwards).any(|(_, (other, _))| other == service) {
            names.insert(0, short);
        }
        for name in &names {
            let own = format!("{service}:{port}");
            if let Some(first) = owners.insert(name.clone(), own.clone()) {
                return Err(Clash { first, second: own, name: name.clone() });
            }
        }
        all.push(names);
    }
    Ok(all)
}

/// Two forwards would set the same variable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{first}` and `{second}` would both set `{name}`; forward one of them in a command of its own"
)]
pub struct Clash {
    first: String,
    second: String,
    name: String,
}

const PREFIX: &str = "SKYCAP_URL_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_variable_is_that_of_the_service() {
        let found = names(&[("frontend", 80), ("web-api.shop", 80), ("frontend", 9090)]);
        let expected = [
            vec!["SKYCAP_URL_FRONTEND", "SKYCAP_URL_FRONTEND_80"],
            vec!["SKYCAP_URL_WEB_API_SHOP", "SKYCAP_URL_WEB_API_SHOP_80"],
            vec!["SKYCAP_URL_FRONTEND_9090"],
        ];
        assert_eq!(
            found,
            Ok(expected.map(|names| names.iter().map(ToString::to_string).collect()).to_vec())
        );
        for clash in [[("a", 80), ("a", 80)], [("a-80", 90), ("a", 80)], [("a-b", 1), ("a.b", 2)]] {
            assert!(names(&clash).is_err(), "{clash:?}");
        }
    }
}
