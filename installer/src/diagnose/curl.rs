//! A pasted curl command, and the request that it would send.

/// The parts of a curl command that decide where the request goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurlCommand {
    /// The URL's host, with its port if it has one.
    pub host: String,
    /// The URL's path and query; at least `/`.
    pub path: String,
    /// The headers that curl sends, with cookies; names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Why a curl command cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCurl {
    /// It has no URL.
    #[error("the curl command has no URL: paste the whole command after `--`")]
    MissingUrl,
    /// An option stands at the end without its value.
    #[error("curl's option `{0}` has no value: paste the whole command after `--`")]
    MissingValue(String),
    /// A header without a colon.
    #[error("invalid header `{0}`: expected `NAME: VALUE`")]
    Header(String),
}

impl CurlCommand {
    /// Reads the arguments of a curl command, with or without the word `curl` before them.
    ///
    /// # Errors
    /// [`InvalidCurl`].
    pub fn parse(args: &[String]) -> Result<Self, InvalidCurl> {
        let mut command = Self::default();
        let mut url = None;
        let mut args = args.iter().skip(usize::from(args.first().is_some_and(|a| a == "curl")));
        while let Some(arg) = args.next() {
            let (option, attached) = split_option(arg);
            let mut value = || {
                let value = attached.map(str::to_owned).or_else(|| args.next().cloned());
                value.ok_or_else(|| InvalidCurl::MissingValue(option.into()))
            };
            match option {
                "-H" | "--header" => command.headers.push(parse_header(&value()?)?),
                "-b" | "--cookie" => command.headers.push(("cookie".into(), value()?)),
                "-A" | "--user-agent" => command.headers.push(("user-agent".into(), value()?)),
                "--url" => url = Some(value()?),
                _ if TAKES_VALUE.contains(&option) => drop(value()?),
                _ if arg.starts_with('-') => {}
                _ => url = Some(arg.clone()),
            }
        }
        let url = url.ok_or(InvalidCurl::MissingUrl)?;
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let slash = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        command.host = host.rsplit_once('@').map_or(host, |(_, host)| host).into();
        command.path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Ok(command)
    }
}

/// Reads `NAME: VALUE`; the name becomes lower case.
///
/// # Errors
/// [`InvalidCurl::Header`].
pub fn parse_header(header: &str) -> Result<(String, String), InvalidCurl> {
    let (name, value) = header.split_once(':').ok_or_else(|| InvalidCurl::Header(header.into()))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().into()))
}

/// An option and the value attached to it, as in `-Hname: value` and `--header=value`.
fn split_option(arg: &str) -> (&str, Option<&str>) {
    if arg.starts_with("--") {
        return arg.split_once('=').map_or((arg, None), |(option, value)| (option, Some(value)));
    }
    match arg.split_at_checked(2) {
        // `-sS` is two switches, but `-HX: y` is a header.
        Some((option, value)) if !value.is_empty() && VALUE_LETTERS.contains(&option) => {
            (option, Some(value))
        }
        _ => (arg, None),
    }
}

/// Short options that take a value, attached or as the next argument.
const VALUE_LETTERS: [&str; 14] =
    ["-H", "-b", "-A", "-X", "-d", "-o", "-u", "-e", "-m", "-w", "-x", "-F", "-T", "-c"];
/// Options of curl that take a value that does not affect routing.
const TAKES_VALUE: [&str; 29] = [
    "-X",
    "--request",
    "-d",
    "--data",
    "--data-raw",
    "--data-binary",
    "--data-urlencode",
    "--json",
    "-o",
    "--output",
    "-u",
    "--user",
    "-e",
    "--referer",
    "-m",
    "--max-time",
    "--connect-timeout",
    "-w",
    "--write-out",
    "-x",
    "--proxy",
    "-F",
    "--form",
    "--resolve",
    "--connect-to",
    "-T",
    "--retry",
    "-c",
    "--cacert",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_command_is_read() {
        let parse = |line: &str| {
            let args: Vec<_> = line.split('\u{1f}').map(str::to_owned).collect();
            CurlCommand::parse(&args)
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let cases = [
            ("curl\u{1f}http://cart.shop", "cart.shop", "/", vec![]),
            (
                "curl\u{1f}-sS\u{1f}-X\u{1f}POST\u{1f}-H\u{1f}Baggage: sandbox=pr-1\u{1f}http://cart.shop:8080/a?b=c",
                "cart.shop:8080",
                "/a?b=c",
                vec![header("baggage", "sandbox=pr-1")],
            ),
            (
                "-HX-Tenant: a\u{1f}--header=x: y\u{1f}-b\u{1f}sandbox=pr-1\u{1f}--url\u{1f}cart?q=1",
                "cart",
                "/?q=1",
                vec![header("x-tenant", "a"), header("x", "y"), header("cookie", "sandbox=pr-1")],
            ),
            (
                "curl\u{1f}https://me:secret@cart.shop/\u{1f}-d\u{1f}http://other",
                "cart.shop",
                "/",
                vec![],
            ),
        ];
        for (line, host, path, headers) in cases {
            let wanted = CurlCommand { host: host.into(), path: path.into(), headers };
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
        assert_eq!(parse("curl\u{1f}-s"), Err(InvalidCurl::MissingUrl));
        assert_eq!(parse("curl\u{1f}-H"), Err(InvalidCurl::MissingValue("-H".into())));
        let no_colon = InvalidCurl::Header("baggage".into());
        assert_eq!(parse("curl\u{1f}-H\u{1f}baggage\u{1f}http://cart.shop"), Err(no_colon));
    }
}
