<%inherit file="base.mako"/>
<%namespace name="parts" file="parts.mako"/>
<h1>Birds of the parish</h1>

<%block name="latest" cached=True cache_tags="sightings">
<h2>Seen lately</h2>
${parts.sightings(database.latest(10), with_bird=True)}
${parts.made_at("latest")}
</%block>

<%block name="totals" cached=True cache_tags="sightings, birds">
<h2>Seen in all</h2>
<table id="totals">
<tr><th>Bird</th><th></th><th class="number">Seen</th></tr>
% for bird, seen in database.birds():
<tr>
<td><a href="/birds/${bird.slug}">${bird.name}</a></td>
<td><i>${bird.latin}</i></td>
<td class="number" data-bird="${bird.slug}">${seen}</td>
</tr>
% endfor
</table>
${parts.made_at("totals")}
</%block>
