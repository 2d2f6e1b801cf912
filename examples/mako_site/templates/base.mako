<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title><%block name="title">Birds of the parish</%block></title>
<%include file="style.mako"/>
</head>
<body>
## Every page has the menu, and none makes it as long as no bird is added.
<%block name="menu" cached=True cache_tags="birds">
<nav id="menu">
<a href="/">All birds</a>
% for bird, _ in database.birds():
<a href="/birds/${bird.slug}">${bird.name}</a>
% endfor
</nav>
</%block>
<main>
${next.body()}
</main>
<footer id="cost">
Questions to the database: <b id="queries">${database.queries}</b>;
time for the page: ${"%.1f" % cost()} ms.
</footer>
</body>
</html>
