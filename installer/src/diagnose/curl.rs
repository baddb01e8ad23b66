//! A pasted curl command: what it says of the request that it would send.

/// What matters of a curl command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurlCommand {
    /// The URL's host, with its port where it has one.
    pub host: String,
    /// The URL's path and query, `/` at least.
    pub path: String,
    /// Headers as curl sends them, with cookies.
    pub headers: Vec<(String, String)>,
}

impl CurlCommand {
    /// Reads the arguments of a curl command, with or without the word `curl` before them.
    ///
    /// # Errors
    /// When there is no URL, or an option lacks its value.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut command = Self::default();
        let mut url = None;
        let mut args = args.iter().skip(usize::from(args.first().is_some_and(|a| a == "curl")));
        while let Some(arg) = args.next() {
            let (option, attached) = split_option(arg);
            let mut value = || {
                let value = attached.map(str::to_owned).or_else(|| args.next().cloned());
                value.ok_or_else(|| format!("curl's option `{option}` lacks its value"))
            };
            match option {
                "-H" | "--header" => command.add_header(&value()?)?,
                "-b" | "--cookie" => command.headers.push(("cookie".into(), value()?)),
                "-A" | "--user-agent" => command.headers.push(("user-agent".into(), value()?)),
                "--url" => url = Some(value()?),
                _ if TAKES_VALUE.contains(&option) => drop(value()?),
                _ if arg.starts_with('-') => {}
                _ => url = Some(arg.clone()),
            }
        }
        let url = url.ok_or("the curl command has no URL; paste it whole, after `--`")?;
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let slash = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        command.host = host.rsplit_once('@').map_or(host, |(_, host)| host).into();
        command.path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Ok(command)
    }

    fn add_header(&mut self, header: &str) -> Result<(), String> {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("`{header}` is no header, expected `name: value`"))?;
        self.headers.push((name.trim().to_ascii_lowercase(), value.trim().into()));
        Ok(())
    }
}

/// An option, and the value that stands right behind it: `-Hname: value`, `--header=value`.
fn split_option(arg: &str) -> (&str, Option<&str>) {
    if arg.starts_with("--") {
        return arg.split_once('=').map_or((arg, None), |(option, value)| (option, Some(value)));
    }
    match arg.split_at_checked(2) {
        Some((option, value)) if arg.starts_with('-') && !value.is_empty() => {
            // `-sS` is two switches, `-HX: y` a header.
            if VALUE_LETTERS.contains(option) { (option, Some(value)) } else { (arg, None) }
        }
        _ => (arg, None),
    }
}

const VALUE_LETTERS: &str = "-H-b-A-X-d-o-u-e-m-w-x-F-T-c";
/// Options of curl that take a value and say nothing that routes.
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
        assert!(parse("curl\u{1f}-s").is_err_and(|error| error.contains("no URL")));
        assert!(parse("curl\u{1f}-H").is_err_and(|error| error.contains("lacks its value")));
    }
}
