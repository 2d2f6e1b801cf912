<%inherit file="base.mako"/>
<%namespace name="parts" file="parts.mako"/>
<%block name="title">${bird.name}</%block>
<h1>${bird.name}</h1>

## One section for each bird, and for each unit of length.
<%block name="facts" cached=True cache_key="facts of ${bird.slug}" cache_vary="units"
        cache_tags="bird:${bird.id}">
<p>
<i>${bird.latin}</i>,
% if units == "in":
${"%.0f" % (bird.length / 2.54)} inches (<a href="?units=cm">cm</a>)
% else:
${"%.0f" % bird.length} cm (<a href="?units=in">inches</a>)
% endif
</p>
<h2>Over the year</h2>
<% months = database.months(bird) %>
<div class="months">
% for number in months:
<i style="height: ${100 * number // max(1, *months)}%" title="${number}"></i>
% endfor
</div>
<h2>Where it is seen most</h2>
<table>
% for place, number in database.places(bird, 5):
<tr><td>${place}</td><td class="number">${number}</td></tr>
% endfor
</table>
${parts.made_at("facts")}
</%block>

<%block name="sightings" cached=True cache_key="sightings of ${bird.slug}"
        cache_tags="bird:${bird.id}">
<h2>Seen lately</h2>
<div id="sightings">
${parts.sightings(database.latest(8, bird), with_bird=False)}
</div>
${parts.made_at("sightings")}
</%block>

<h2>Have you seen one today?</h2>
<form method="post">
% if complaint:
<p class="complaint">${complaint}</p>
% endif
<label>Where <input name="place" required maxlength="60"
  value="${form.get('place', '')}"></label>
<label>How many <input name="number" inputmode="numeric" required size="4"
  value="${form.get('number', '1')}"></label>
<label>Your name <input name="person" required maxlength="60"
  value="${form.get('person', '')}"></label>
<button>Note it</button>
</form>
