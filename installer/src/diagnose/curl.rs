//! A pasted curl command, and the request that it would send.

/// The parts of a curl command that decide where the request goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurlCommand {
    /// The URL's host, with its port if it has one.
    pub host: String,
    /// Whether the URL is of another scheme than `http`.
    pub is_other_scheme: bool,
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
    /// The whole command as one argument.
    #[error("the curl command is one argument: paste it after `--` without quotes around it")]
    Quoted,
    /// Not the command curl.
    #[error("`{0}` is not a curl command: expected `curl` and its arguments after `--`")]
    OtherCommand(String),
    /// More than one URL.
    #[error("the curl command has two URLs, `{0}` and `{1}`: keep one")]
    TwoUrls(String, String),
    /// A URL that is not plain HTTP.
    #[error(
        "`{0}` is not an `http://` URL: a sidecar cannot read the headers of other requests; for a \
         gateway that ends TLS, pass its Service with `--to`"
    )]
    NotHttp(String),
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
        if let [only] = args
            && only.contains(char::is_whitespace)
        {
            return Err(InvalidCurl::Quoted);
        }
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
                "--url" => set_url(&mut url, value()?)?,
                _ if TAKES_VALUE.contains(&option) => drop(value()?),
                _ if arg.starts_with('-') => {}
                _ => set_url(&mut url, arg.clone())?,
            }
        }
        let url = url.ok_or(InvalidCurl::MissingUrl)?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
        command.is_other_scheme = !scheme.eq_ignore_ascii_case("http");
        let slash = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        command.host = host.rsplit_once('@').map_or(host, |(_, host)| host).into();
        command.path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Ok(command)
    }
}

fn set_url(url: &mut Option<String>, other: String) -> Result<(), InvalidCurl> {
    match url.replace(other.clone()) {
        None => Ok(()),
        Some(word) if !word.contains(['.', ':', '/']) => Err(InvalidCurl::OtherCommand(word)),
        Some(first) => Err(InvalidCurl::TwoUrls(first, other)),
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
                "curl\u{1f}http://me:secret@cart.shop/\u{1f}-d\u{1f}http://other",
                "cart.shop",
                "/",
                vec![],
            ),
        ];
        for (line, host, path, headers) in cases {
            let (host, path) = (host.into(), path.into());
            let wanted = CurlCommand { host, is_other_scheme: false, path, headers };
            assert_eq!(parse(line), Ok(wanted), "{line}");
        }
        assert_eq!(parse("curl\u{1f}-s"), Err(InvalidCurl::MissingUrl));
        assert_eq!(parse("curl\u{1f}-H"), Err(InvalidCurl::MissingValue("-H".into())));
        assert!(parse("curl\u{1f}https://cart.shop").is_ok_and(|curl| curl.is_other_scheme));
        assert_eq!(parse("curl http://cart.shop"), Err(InvalidCurl::Quoted));
        let other = InvalidCurl::OtherCommand("wget".into());
        assert_eq!(parse("wget\u{1f}http://cart.shop"), Err(other));
        let two = InvalidCurl::TwoUrls("http://a".into(), "http://b".into());
        assert_eq!(parse("curl\u{1f}http://a\u{1f}http://b"), Err(two));
        let no_colon = InvalidCurl::Header("baggage".into());
        assert_eq!(parse("curl\u{1f}-H\u{1f}baggage\u{1f}http://cart.shop"), Err(no_colon));
    }
}
