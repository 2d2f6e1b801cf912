<%inherit file="base.mako"/>
<h1>There is no such page</h1>
<p>It has flown away. <a href="/">All birds</a> are still here.</p>
