<%text><style>
body { margin: 0; display: grid; grid-template-columns: 15rem 1fr; gap: 0 2rem;
  font: 16px/1.5 system-ui, sans-serif; color: #222; background: #f6f5f1; }
nav { grid-row: span 2; padding: 1.5rem; background: #2f4538; font-size: .85rem; }
nav a { display: block; color: #dce8df; text-decoration: none; padding: .1rem 0; }
nav a:hover { color: #fff; }
main { padding: 1.5rem 2rem 0 0; max-width: 52rem; }
footer { padding: 1rem 0; color: #777; font-size: .85rem; }
h1 { margin: 0; } h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; background: #fff; }
td, th { padding: .3rem .6rem; border-bottom: 1px solid #e4e2da; text-align: left; }
td.number, th.number { text-align: right; }
.made { color: #888; font-size: .8rem; }
.months { display: flex; align-items: end; gap: 4px; height: 90px; }
.months i { flex: 1; background: #7fa68c; font-style: normal; min-height: 1px; }
form { display: flex; flex-wrap: wrap; gap: .6rem; align-items: end; }
label { font-size: .85rem; } input { display: block; font: inherit; padding: .3rem; }
button { font: inherit; padding: .35rem 1rem; }
.complaint { color: #a01c1c; width: 100%; margin: 0; }
</style></%text>
