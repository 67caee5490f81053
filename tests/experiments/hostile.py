"""Strings that would run, load or open something, if a page took them for markup."""

HIT = "window.hit=1;alert(1)"
HOSTILE = [
    f"<script>{HIT}</script>",
    f"</script><script>{HIT}</script>",
    f"</ScRiPt\n><script>{HIT}</script>",
    f"<!--<script>{HIT}",
    f"--><script>{HIT}</script>",
    f"<!--<script></script><script>{HIT}//-->",
    f"<img src=x onerror={HIT}>",
    f"<img src=//example.org/a.png onload={HIT}>",
    f"<svg onload={HIT}>",
    f"<svg><script>{HIT}</script></svg>",
    f"<svg/onload={HIT}//",
    f"<body onload={HIT}>",
    f'<iframe src="javascript:{HIT}">',
    f"<iframe srcdoc='<script>parent.{HIT}</script>'>",
    f'<object data="javascript:{HIT}">',
    "<link rel=stylesheet href=//example.org/a.css>",
    "<base href=//example.org/>",
    "<meta http-equiv=refresh content='0;url=//example.org/'>",
    f'<a href="javascript:{HIT}">a</a>',
    f"<input autofocus onfocus={HIT}>",
    f"<details open ontoggle={HIT}>",
    f"<video><source onerror={HIT}></video>",
    f"<math><mtext><img src=x onerror={HIT}></mtext></math>",
    f"</textarea><script>{HIT}</script>",
    f"</title><script>{HIT}</script>",
    f"</style><script>{HIT}</script>",
    f"</select><img src=x onerror={HIT}>",
    f'" onmouseover="{HIT}" x="',
    f"' onfocus='{HIT}' autofocus='",
    f'" autofocus onfocus={HIT} x="',
    f"`${{{HIT}}}`",
    f"${{{HIT}}}",
    f"\\u003cscript\\u003e{HIT}\\u003c/script\\u003e",
    f'\\";{HIT};//',
    f"';{HIT};'",
    f"];{HIT};[",
    f"\u2028{HIT}\u2029",
    f"{{{{ cycler.__init__.__globals__ }}}}{{% if 1 %}}{HIT}",
    f"&lt;script&gt;{HIT}&lt;/script&gt;",
    f"javascript:{HIT}",
]


def assert_harmless(page, source: str) -> None:
    """No string became a script, an element or an attribute of the page."""
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None
    found = page.evaluate("[...document.querySelectorAll('*')].map(x => x.localName)")
    assert not {"img", "iframe", "object", "link", "base", "video", "math", "a"} & {*found}
    assert page.evaluate("document.scripts.length") == source.count("<script")
    on = "[...document.querySelectorAll('*')].flatMap(x => x.getAttributeNames())"
    assert not [name for name in page.evaluate(on) if name.startswith("on")]
