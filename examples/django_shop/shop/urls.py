"""The pages of the shop."""

from __future__ import annotations

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("category/<slug:slug>/", views.category, name="category"),
    path("product/<slug:slug>/", views.product, name="product"),
    path("product/<slug:slug>/edit/", views.edit, name="edit"),
    path("orders/", views.orders, name="orders"),
]
