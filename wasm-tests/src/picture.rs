//! Pictures for the terminal: the way that a request took.

use anstyle::{AnsiColor, Style};

/// A way such as `client --> frontend --> [cart-pr-123] --> pricing`: what is not the baseline
/// stands in brackets, and in colour where there is any.
#[must_use]
pub fn way(path: &[String]) -> String {
    let hops = path.iter().map(|hop| {
        if hop.contains('-') { paint(AnsiColor::Green, &format!("[{hop}]")) } else { hop.clone() }
    });
    let hops: Vec<_> = std::iter::once("client".to_owned()).chain(hops).collect();
    hops.join(" --> ")
}

/// A bar of `width` characters, of which the part `share` of 1 is full.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    let full = (share * width as f64).round() as usize;
    (0..width).map(|column| if column < full { '#' } else { '.' }).collect()
}

/// `text` in a colour, which anstream takes away where there is none.
#[must_use]
pub fn paint(color: AnsiColor, text: &str) -> String {
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}
