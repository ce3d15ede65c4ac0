"""The style sheet of the page: light and dark, for phones and desktops."""

_LIGHT = ("#16181d", "#ffffff")
_DARK = ("#e8e8e4", "#16181c")


def style_sheet() -> str:
    """Returns the CSS of the page.

    It has the variables that `inline_svg` refers to: `--t0` (ink) to `--t10`
    (paper), `--blue` and `--sans`.
    """
    light, dark = (
        " ".join(
            f"--t{n}:{_mix(ink, paper, n / 10)};" for n in range(11)
        )
        for ink, paper in (_LIGHT, _DARK)
    )
    return (
        f":root{{{light} {_LIGHT_NAMES}}}\n"
        "@media (prefers-color-scheme: dark)"
        f"{{:root{{{dark} {_DARK_NAMES}}}}}\n{_RULES}"
    )


def _mix(first: str, second: str, share: float) -> str:
    """A colour between two, as `#rrggbb`."""
    pairs = zip(*(bytes.fromhex(color[1:]) for color in (first, second)))
    mixed = (round(a + (b - a) * share) for a, b in pairs)
    return "#" + "".join(f"{value:02x}" for value in mixed)


# Text on paper has a contrast of 4.5 at least, in both.
_LIGHT_NAMES = """--ink:#16181d; --soft:#555a63; --paper:#ffffff;
 --line:#d9dbdf; --wash:#f5f5f2; --link:#0b5394; --blue:#0072b2;
 --good:#17663f; --fair:#0b5394; --bad:#a33a00; --open:#555a63;"""
_DARK_NAMES = """--ink:#e8e8e4; --soft:#a8adb6; --paper:#16181c;
 --line:#383c44; --wash:#1f2227; --link:#8ab8ea; --blue:#4ba6dd;
 --good:#7fd0a2; --fair:#8ab8ea; --bad:#f0986a; --open:#b9bdc5;"""
_RULES = """
:root{color-scheme:light dark;
 --sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
 sans-serif;
 --serif:"Iowan Old Style","Palatino Linotype",Palatino,Georgia,serif}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
 font:1rem/1.55 var(--sans);overflow-wrap:anywhere;
 -webkit-text-size-adjust:100%}
.page{max-width:66rem;margin:0 auto;padding:1.5rem 1.15rem 4rem}
a{color:var(--link);text-underline-offset:.15em}
a:focus-visible,summary:focus-visible,.wide:focus-visible{
 outline:2px solid var(--link);outline-offset:2px}
p{margin:.6rem 0;max-width:42rem}
code{font:.875em ui-monospace,Menlo,Consolas,monospace;white-space:nowrap}
h1,h2{font-family:var(--serif);font-weight:600;line-height:1.2;margin:0}
h1{font-size:1.75rem}
h2{font-size:1.35rem;margin-bottom:.7rem}
h3{font-size:1rem;font-weight:600;margin:1.6rem 0 .3rem}
header .path{color:var(--soft);font-size:.875rem;margin:.35rem 0 0;
 max-width:none}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;
 margin:0;padding:0;font-size:.875rem}
nav{margin-top:1.1rem;padding:.55rem 0;border-top:1px solid var(--line);
 border-bottom:1px solid var(--line)}
nav a{text-decoration:none;display:inline-block;padding:.2rem 0}
nav a:hover{text-decoration:underline}
section{margin-top:2.6rem;padding-top:1.5rem;border-top:1px solid var(--line)}
main>section:first-of-type{border-top:0;padding-top:0;margin-top:2rem}
.notice{margin:1.2rem 0 0;padding:.7rem 1rem;background:var(--wash);
 border-left:3px solid var(--bad);font-size:.9375rem}
.notice.way{border-color:var(--fair)}
.notice p{margin:0;max-width:none}
.notice p+p,.notice ul{margin:.4rem 0 0}
.notice ul{padding-left:1.1rem}
.rulings{display:grid;gap:1.6rem 2.2rem;margin:0 0 .6rem;
 grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr))}
.ruling .label{margin:0;color:var(--soft);font-size:.9375rem}
.ruling .word{margin:0;font:600 2.9rem/1.1 var(--serif);
 letter-spacing:-.01em;color:var(--open)}
.several .word{font-size:2rem}
.ruling .winning{color:var(--good)}
.ruling .matching{color:var(--fair)}
.ruling .no-ticket{color:var(--bad)}
.ruling .line{margin:.25rem 0 .8rem}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1.1rem;
 margin:0;font-size:.9375rem}
.facts dt{color:var(--soft)}
.facts dd{margin:0;font-variant-numeric:tabular-nums}
.figures{display:grid;gap:1.6rem 2.5rem;margin-top:1.4rem;
 grid-template-columns:repeat(auto-fit,minmax(min(100%,28rem),1fr))}
figure{margin:0;min-width:0}
.broad{grid-column:1/-1}
.wide{overflow-x:auto;max-width:100%}
.drawing{max-width:100%}
.drawing svg,.drawing img{display:block;width:100%;height:auto}
.drawing svg{fill:var(--t0)}
.drawing img{background:#fff}
.drawing svg *{stroke-linejoin:round;stroke-linecap:butt}
figcaption{margin-top:.5rem;font-size:.875rem;color:var(--soft);
 max-width:42rem}
.files{white-space:nowrap}
.tables{margin-top:1.5rem}
table{border-collapse:collapse;font-size:.875rem;line-height:1.4;
 font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:.35rem}
th,td{padding:.28rem .9rem .28rem 0;text-align:left;vertical-align:top;
 overflow-wrap:normal}
th:last-child,td:last-child{padding-right:0}
.number{text-align:right}
td.number{white-space:nowrap}
.text{max-width:24rem}
thead th{border-bottom:1px solid var(--soft);font-weight:600;
 vertical-align:bottom}
tbody th{font-weight:400}
tbody tr+tr>*{border-top:1px solid var(--line)}
summary{cursor:pointer;padding:.35rem 0}
.below{margin:.4rem 0 0;font-size:.875rem;color:var(--soft)}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--paper);padding:.4rem}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);
 font-size:.875rem;color:var(--soft)}
@media (max-width:30rem){
 .page{padding-top:1.1rem}
 h1{font-size:1.45rem}
 .ruling .word{font-size:2.4rem}
 .facts{gap:.1rem .8rem}
}
@media print{nav,.skip{display:none}section{break-inside:avoid-page}}
"""
