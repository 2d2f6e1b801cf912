<%def name="sightings(found, with_bird)">
<table>
<tr>
% if with_bird:
<th>Bird</th>
% endif
<th>Day</th><th>Place</th><th class="number">Number</th><th>Seen by</th>
</tr>
% for each in found:
<tr>
% if with_bird:
<td><a href="/birds/${each.slug}">${each.bird}</a></td>
% endif
<td>${each.day}</td><td>${each.place}</td><td class="number">${each.number}</td>
<td>${each.person}</td>
</tr>
% endfor
</table>
</%def>

<%def name="made_at(section)">
<p class="made" data-section="${section}">This section was made at ${made()}.</p>
</%def>
