"""How the page looks: one font, one accent, nothing that moves but the pictures."""

CSS = """
:root { --line: #d8dade; --soft: #f3f4f6; --text: #1d2126; --muted: #5c6470; --accent: #1f5fa8; }
body { font-family: system-ui, sans-serif; font-size: 15px; color: var(--text); background: #fff; }
.nicegui-content { display: block; padding: 0; }
.page { max-width: 1240px; margin: 0 auto; padding: 14px 20px 32px; }
.top { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; margin-bottom: 12px; }
.top h1 { font-size: 20px; line-height: 28px; font-weight: 650; letter-spacing: 0; margin: 0; }
.top .about, .sentence, figcaption { color: var(--muted); }
.sentence { max-width: 46em; line-height: 1.4; margin: 0; }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 20px; padding: 10px 12px; background: var(--soft);
       border-radius: 6px; min-height: 96px; }
.current { display: flex; align-items: center; gap: 12px; width: 290px; }
.current img { width: 76px; height: 76px; border-radius: 4px; background: #e4e6ea; }
.current .text { display: flex; flex-direction: column; gap: 6px; min-width: 0; align-items: flex-start; }
.current .name { font-weight: 600; max-width: 190px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.held-out { display: flex; align-items: center; gap: 6px; }
.thumbnail { padding: 0; border: 0; border-radius: 4px; background: #e4e6ea; cursor: pointer;
             line-height: 0; overflow: hidden; }
.thumbnail img { width: 60px; height: 60px; }
.thumbnail:hover { outline: 2px solid #9db9d8; }
.thumbnail:focus-visible, .q-btn:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.controls + .sentence { margin-bottom: 8px; min-height: 21px; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(192px, 1fr)); gap: 8px; max-width: 960px; }
.large.thumbnail img { width: 100%; height: auto; aspect-ratio: 1; }
.q-tab { padding: 0 14px; } .q-tab__label { font-size: 15px; font-weight: 500; }
.q-tabs { border-bottom: 1px solid var(--line); margin-top: 10px; }
.q-tab-panel { display: block; padding: 14px 0 0; }
.q-tab-panels { overflow: visible; } .q-panel { overflow: visible !important; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 20px; min-height: 48px;
            margin-bottom: 12px; }
.pictures { display: flex; gap: 16px; padding: 4px 0 10px; position: sticky; top: 0; background: #fff; z-index: 2; }
.picture { margin: 0; flex: 0 1 256px; min-width: 192px; }
.picture img { width: 100%; aspect-ratio: 1; display: block; border-radius: 4px; background: var(--soft); }
img { image-rendering: auto; object-fit: cover; }
figcaption { line-height: 20px; height: 24px; padding-top: 4px; overflow: hidden; text-overflow: ellipsis;
             white-space: nowrap; font-size: 14px; }
.sliders { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 0 40px; }
.slider { display: grid; grid-template-columns: 10.5em 1fr 2.6em; align-items: center; gap: 14px; height: 30px; }
.slider .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 14px; }
.slider .value { font-variant-numeric: tabular-nums; text-align: right; }
.wide .sliders { grid-template-columns: minmax(280px, 800px); }
.q-field--outlined .q-field__control { border-radius: 4px; }
.q-btn { min-height: 34px; } .q-uploader, .q-loading-bar { display: none; }
.bar .message { order: 1; flex: 1 1 160px; line-height: 15px; font-size: 13px; max-height: 76px;
                overflow: auto; color: #a32b1f; }
.bar .sentence { flex: 1 1 300px; }
@media (max-width: 1000px) { .bar .message { order: 0; min-height: 76px; align-content: center; } }
"""
