//! Pictures for the terminal: the path of a request.

use anstyle::{AnsiColor, Style};

/// A path such as `client --> frontend --> [cart-pr-123] --> pricing`. Workloads of a sandbox are in
/// brackets and, if the terminal has colours, in green.
#[must_use]
pub fn path(workloads: &[String]) -> String {
    let hops = workloads.iter().map(|hop| {
        if hop.contains('-') { paint(AnsiColor::Green, &format!("[{hop}]")) } else { hop.clone() }
    });
    let hops: Vec<_> = std::iter::once("client".to_owned()).chain(hops).collect();
    hops.join(" --> ")
}

/// A bar of `width` characters, filled to `share`, from 0 to 1.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    let full = (share * width as f64).round() as usize;
    (0..width).map(|column| if column < full { '#' } else { '.' }).collect()
}

/// `text` in a colour. anstream removes the colour if the output is not a terminal.
#[must_use]
pub fn paint(color: AnsiColor, text: &str) -> String {
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}
